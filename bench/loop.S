// A multiboot kernel that runs a loop of known length and leaves by the debug-exit port: instructions a second of an engine.
// The iteration count is patched in by the harness at `iterations`. 16 instructions an iteration: arithmetic, a table load
// and store, a call and return, a data-dependent branch.
        .section .text
        .code32
        .align 4
        .long 0x1badb002, 0, -0x1badb002
        .globl _start
_start: mov $stack_top, %esp
        mov iterations, %ecx
        mov $table, %esi
        xor %eax, %eax
        mov $0x9e3779b9, %edx
1:      imul $1664525, %edx, %edx
        add $1013904223, %edx
        mov %edx, %ebx
        shr $22, %ebx
        mov (%esi,%ebx,4), %edi
        add %edx, %edi
        mov %edi, (%esi,%ebx,4)
        call mix
        test $1, %al
        jz 2f
        xor %edx, %eax
2:      dec %ecx
        jnz 1b
        mov $0, %al
        out %al, $0xf4
3:      hlt
        jmp 3b
mix:    add %edi, %eax
        rol $5, %eax
        ret

        .section .data
        .globl iterations
        .ascii "ITERATNS"               // the harness finds the count by this mark
iterations: .long 1000000
        .section .bss
        .align 16
table:  .skip 4096
        .skip 4096
stack_top:
