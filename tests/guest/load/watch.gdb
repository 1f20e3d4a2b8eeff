# What a hardware watchpoint sees.
set pagination off
set confirm off
break stepped
run
watch *(unsigned long*)&watched
commands
  silent
  printf "watched %lx\n", *(unsigned long*)&watched
  continue
end
continue
