# Prints registers at every instruction of stepped() (not AF and PF, which hang on where the stack is).
set pagination off
set confirm off
break stepped
run
set $n = 0
while $n < 700
  printf "step %d %lx %lx %lx %lx %lx %lx %lx %lx\n", $n, $pc, $rax, $rbx, $rdx, $rsi, $xmm0.v2_int64[0], $xmm0.v2_int64[1], $eflags & 0x8c1
  stepi
  set $n = $n + 1
end
