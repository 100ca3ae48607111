/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/switch.h"

#ifdef FJ__SWITCH_X86_64
/*
 * A stack that was left looks thus from its saved pointer up, eight bytes each:
 *   MXCSR and x87 control word, r15, r14, r13, r12, rbx, rbp, where to go on
 * scripts/gdb/fjord-gdb.py knows this, too.
 */
	.text

/* bool fj__switch(void **save, void *to)
 * MXCSR and the control word are loaded even where they are the same: comparing them first was measured to take longer.
 * It ends in a jump: `ret` would be predicted to go back to the stack that was left. */
	.globl	fj__switch
	.hidden	fj__switch
	.type	fj__switch, @function
	.p2align 4
fj__switch:
	.cfi_startproc
	endbr64
	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbp, 0
	pushq	%rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	pushq	%r12
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r12, 0
	pushq	%r13
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r13, 0
	pushq	%r14
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r14, 0
	pushq	%r15
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset r15, 0
	subq	$8, %rsp
	.cfi_adjust_cfa_offset 8
	stmxcsr	(%rsp)
	fnstcw	4(%rsp)
	movl	$1, %eax
	movq	%rsp, (%rdi)
	movq	%rsi, %rsp
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	.cfi_adjust_cfa_offset -8
	popq	%r15
	.cfi_adjust_cfa_offset -8
	.cfi_restore r15
	popq	%r14
	.cfi_adjust_cfa_offset -8
	.cfi_restore r14
	popq	%r13
	.cfi_adjust_cfa_offset -8
	.cfi_restore r13
	popq	%r12
	.cfi_adjust_cfa_offset -8
	.cfi_restore r12
	popq	%rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	popq	%rbp
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbp
	popq	%rcx
	.cfi_adjust_cfa_offset -8
	.cfi_register rip, rcx
	notrack jmp *%rcx
	.cfi_endproc
	.size	fj__switch, .-fj__switch

/* void *fj__switch_frame(char *base, char *top, void *(*start)(void))
 * The new stack begins with the floating-point control of the present one. */
	.globl	fj__switch_frame
	.hidden	fj__switch_frame
	.type	fj__switch_frame, @function
	.p2align 4
fj__switch_frame:
	.cfi_startproc
	endbr64
	andq	$-16, %rsi
	leaq	-80(%rsi), %rax
	stmxcsr	(%rax)
	fnstcw	4(%rax)
	xorl	%ecx, %ecx
	movq	%rcx, 8(%rax)
	movq	%rcx, 16(%rax)
	movq	%rcx, 24(%rax)
	movq	%rcx, 32(%rax)
	movq	%rdx, 40(%rax)
	movq	%rcx, 48(%rax)
	leaq	fj__switch_entry(%rip), %rcx
	movq	%rcx, 56(%rax)
	ret
	.cfi_endproc
	.size	fj__switch_frame, .-fj__switch_frame

/* The lowest frame of every fibre: unwinding ends here.  A fibre that never suspended has returned from each call by now,
 * so that here, and only here, `ret` is predicted rightly. */
	.type	fj__switch_entry, @function
	.p2align 4
fj__switch_entry:
	.cfi_startproc
	.cfi_undefined rip
	endbr64
	call	*%rbx
	movq	%rax, %rsp
	ldmxcsr	(%rsp)
	fldcw	4(%rsp)
	addq	$8, %rsp
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbx
	popq	%rbp
	xorl	%eax, %eax
	ret
	.cfi_endproc
	.size	fj__switch_entry, .-fj__switch_entry

/* Fit for indirect branch tracking (1), not for shadow stacks (2). */
	.section .note.gnu.property, "a"
	.p2align 3
	.long	4, 16, 5
	.asciz	"GNU"
	.long	0xc0000002, 4, 1, 0
#endif

	.section .note.GNU-stack, "", %progbits
