/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/switch.h"

#ifdef FJ__SWITCH_AARCH64
/*
 * A stack that was left looks thus from its saved pointer up, eight bytes each:
 *   x19 to x28, x29 (frame), x30 (where to go on), d8 to d15, FPCR, nothing
 */
#define FRAME 176

/* With branch targets checked only `ret` may go to where no landing pad is; else a plain jump, since `ret` would be
 * predicted to go back to the stack that was left. */
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define LANDING bti c
#define GO_ON ret
#else
#define LANDING
#define GO_ON br x30
#endif

	.text

/* bool fj__switch(void **save, void *to) */
	.globl	fj__switch
	.hidden	fj__switch
	.type	fj__switch, %function
	.p2align 4
fj__switch:
	.cfi_startproc
	LANDING
	sub	sp, sp, #FRAME
	.cfi_def_cfa_offset FRAME
	stp	x19, x20, [sp, #0]
	stp	x21, x22, [sp, #16]
	stp	x23, x24, [sp, #32]
	stp	x25, x26, [sp, #48]
	stp	x27, x28, [sp, #64]
	stp	x29, x30, [sp, #80]
	stp	d8, d9, [sp, #96]
	stp	d10, d11, [sp, #112]
	stp	d12, d13, [sp, #128]
	stp	d14, d15, [sp, #144]
	mrs	x9, fpcr
	str	x9, [sp, #160]
	.cfi_offset x19, -FRAME
	.cfi_offset x20, -FRAME + 8
	.cfi_offset x21, -FRAME + 16
	.cfi_offset x22, -FRAME + 24
	.cfi_offset x23, -FRAME + 32
	.cfi_offset x24, -FRAME + 40
	.cfi_offset x25, -FRAME + 48
	.cfi_offset x26, -FRAME + 56
	.cfi_offset x27, -FRAME + 64
	.cfi_offset x28, -FRAME + 72
	.cfi_offset x29, -FRAME + 80
	.cfi_offset x30, -FRAME + 88
	mov	x10, sp
	str	x10, [x0]
	mov	sp, x1
	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	ldr	x10, [sp, #160]
	cmp	x9, x10
	b.eq	1f
	msr	fpcr, x10
1:	add	sp, sp, #FRAME
	.cfi_def_cfa_offset 0
	.cfi_restore x19
	.cfi_restore x20
	.cfi_restore x21
	.cfi_restore x22
	.cfi_restore x23
	.cfi_restore x24
	.cfi_restore x25
	.cfi_restore x26
	.cfi_restore x27
	.cfi_restore x28
	.cfi_restore x29
	.cfi_restore x30
	mov	w0, #1
	GO_ON
	.cfi_endproc
	.size	fj__switch, .-fj__switch

/* void *fj__switch_frame(char *base, char *top, void *(*start)(void))
 * The new stack begins with the floating-point control of the present one. */
	.globl	fj__switch_frame
	.hidden	fj__switch_frame
	.type	fj__switch_frame, %function
	.p2align 4
fj__switch_frame:
	.cfi_startproc
	LANDING
	and	x0, x1, #-16
	sub	x0, x0, #FRAME
	stp	x2, xzr, [x0, #0]
	stp	xzr, xzr, [x0, #16]
	stp	xzr, xzr, [x0, #32]
	stp	xzr, xzr, [x0, #48]
	stp	xzr, xzr, [x0, #64]
	adr	x9, fj__switch_entry
	stp	xzr, x9, [x0, #80]
	stp	xzr, xzr, [x0, #96]
	stp	xzr, xzr, [x0, #112]
	stp	xzr, xzr, [x0, #128]
	stp	xzr, xzr, [x0, #144]
	mrs	x9, fpcr
	str	x9, [x0, #160]
	ret
	.cfi_endproc
	.size	fj__switch_frame, .-fj__switch_frame

/* The lowest frame of every fibre: unwinding ends here.  A fibre that never suspended has returned from each call by now,
 * so that here, and only here, `ret` is predicted rightly. */
	.type	fj__switch_entry, %function
	.p2align 4
fj__switch_entry:
	.cfi_startproc
	.cfi_undefined x30
	blr	x19
	mov	sp, x0
	ldp	x19, x20, [sp, #0]
	ldp	x21, x22, [sp, #16]
	ldp	x23, x24, [sp, #32]
	ldp	x25, x26, [sp, #48]
	ldp	x27, x28, [sp, #64]
	ldp	x29, x30, [sp, #80]
	ldp	d8, d9, [sp, #96]
	ldp	d10, d11, [sp, #112]
	ldp	d12, d13, [sp, #128]
	ldp	d14, d15, [sp, #144]
	ldr	x10, [sp, #160]
	msr	fpcr, x10
	add	sp, sp, #FRAME
	mov	w0, #0
	ret
	.cfi_endproc
	.size	fj__switch_entry, .-fj__switch_entry

#ifdef __ARM_FEATURE_BTI_DEFAULT
	.section .note.gnu.property, "a"
	.p2align 3
	.word	4, 16, 5
	.asciz	"GNU"
	.word	0xc0000000, 4, 1, 0
#endif
#endif

	.section .note.GNU-stack, "", %progbits
