#include "textflag.h"

// Two SHA-256 at a time with the SHA instructions. One alone leaves the processor
// waiting: each pair of rounds needs the result of the one before. The rounds are those
// of FIPS 180-4 §6.2.2 in the order of Intel's "New Instructions Supporting the Secure
// Hash Algorithm" (2013); what is done for lane A is then done for lane B.
//
// Lane A: state X1 X2, message X3-X6, data SI. Lane B: state X7 X8, message X9-X12,
// data BX. Both: X0 message + constant, X13 scratch, X14 byte order, AX constants.

// LOAD takes 16 bytes of the message.
#define LOAD(off, data, m) \
	MOVOU  off(data), m \
	PSHUFB X14, m

// ROUNDS does rounds 4i to 4i+3 with message words m.
#define ROUNDS(i, m, s, t) \
	MOVO        m, X0          \
	PADDD       (16*i)(AX), X0 \
	SHA256RNDS2 X0, s, t       \
	PSHUFD      $0x0e, X0, X0  \
	SHA256RNDS2 X0, t, s

// NEXT finishes message words next, of which MSG1 was done, from the two before.
#define NEXT(before, last, next) \
	MOVO       last, X13       \
	PALIGNR    $4, before, X13 \
	PADDD      X13, next       \
	SHA256MSG2 last, next

// STEP is four rounds of both lanes, and the message words that follow from them: the
// m are the lane's message registers, oldest first.
#define STEP(i, a0, a1, a2, a3, b0, b1, b2, b3) \
	ROUNDS(i, a3, X1, X2) \
	NEXT(a2, a3, a0)      \
	SHA256MSG1 a3, a2     \
	ROUNDS(i, b3, X7, X8) \
	NEXT(b2, b3, b0)      \
	SHA256MSG1 b3, b2

// ENTER loads a state from p in the order that the instructions want, LEAVE is its
// inverse.
#define ENTER(p, s, t) \
	MOVOU   (p), s       \
	MOVOU   16(p), t     \
	PSHUFD  $0xb1, s, s  \
	PSHUFD  $0x1b, t, t  \
	MOVO    s, X13       \
	PALIGNR $8, t, s     \
	PBLENDW $0xf0, X13, t

#define LEAVE(p, s, t) \
	PSHUFD  $0x1b, s, s  \
	PSHUFD  $0xb1, t, t  \
	MOVO    s, X13       \
	PBLENDW $0xf0, t, s  \
	PALIGNR $8, X13, t   \
	MOVOU   s, (p)       \
	MOVOU   t, 16(p)

// func blocks(s, t *[8]uint32, a, b *byte, n int)
TEXT ·blocks(SB), NOSPLIT, $64-40
	MOVQ  s+0(FP), DI
	MOVQ  t+8(FP), R8
	MOVQ  a+16(FP), SI
	MOVQ  b+24(FP), BX
	MOVQ  n+32(FP), CX
	TESTQ CX, CX
	JLE   done
	MOVOU swap<>(SB), X14
	LEAQ  k<>(SB), AX
	ENTER(DI, X1, X2)
	ENTER(R8, X7, X8)

loop:
	MOVOU X1, 0(SP)
	MOVOU X2, 16(SP)
	MOVOU X7, 32(SP)
	MOVOU X8, 48(SP)

	LOAD(0, SI, X3)
	LOAD(0, BX, X9)
	ROUNDS(0, X3, X1, X2)
	ROUNDS(0, X9, X7, X8)
	LOAD(16, SI, X4)
	LOAD(16, BX, X10)
	ROUNDS(1, X4, X1, X2)
	SHA256MSG1 X4, X3
	ROUNDS(1, X10, X7, X8)
	SHA256MSG1 X10, X9
	LOAD(32, SI, X5)
	LOAD(32, BX, X11)
	ROUNDS(2, X5, X1, X2)
	SHA256MSG1 X5, X4
	ROUNDS(2, X11, X7, X8)
	SHA256MSG1 X11, X10
	LOAD(48, SI, X6)
	LOAD(48, BX, X12)
	STEP(3, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP(4, X4, X5, X6, X3, X10, X11, X12, X9)
	STEP(5, X5, X6, X3, X4, X11, X12, X9, X10)
	STEP(6, X6, X3, X4, X5, X12, X9, X10, X11)
	STEP(7, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP(8, X4, X5, X6, X3, X10, X11, X12, X9)
	STEP(9, X5, X6, X3, X4, X11, X12, X9, X10)
	STEP(10, X6, X3, X4, X5, X12, X9, X10, X11)
	STEP(11, X3, X4, X5, X6, X9, X10, X11, X12)
	STEP(12, X4, X5, X6, X3, X10, X11, X12, X9)
	ROUNDS(13, X4, X1, X2)
	NEXT(X3, X4, X5)
	ROUNDS(13, X10, X7, X8)
	NEXT(X9, X10, X11)
	ROUNDS(14, X5, X1, X2)
	NEXT(X4, X5, X6)
	ROUNDS(14, X11, X7, X8)
	NEXT(X10, X11, X12)
	ROUNDS(15, X6, X1, X2)
	ROUNDS(15, X12, X7, X8)

	MOVOU 0(SP), X13
	PADDD X13, X1
	MOVOU 16(SP), X13
	PADDD X13, X2
	MOVOU 32(SP), X13
	PADDD X13, X7
	MOVOU 48(SP), X13
	PADDD X13, X8
	ADDQ  $64, SI
	ADDQ  $64, BX
	SUBQ  $1, CX
	JNE   loop

	LEAVE(DI, X1, X2)
	LEAVE(R8, X7, X8)

done:
	RET

// func features() uint32
TEXT ·features(SB), NOSPLIT, $0-4
	XORL AX, AX
	CPUID
	CMPL AX, $7
	JLT  none
	MOVL $7, AX
	XORL CX, CX
	CPUID
	MOVL BX, ret+0(FP)
	RET

none:
	MOVL $0, ret+0(FP)
	RET

// swap makes words big-endian.
DATA swap<>+0(SB)/8, $0x0405060700010203
DATA swap<>+8(SB)/8, $0x0c0d0e0f08090a0b
GLOBL swap<>(SB), RODATA|NOPTR, $16

// k is FIPS 180-4 §4.2.2.
DATA k<>+0(SB)/8, $0x71374491428a2f98
DATA k<>+8(SB)/8, $0xe9b5dba5b5c0fbcf
DATA k<>+16(SB)/8, $0x59f111f13956c25b
DATA k<>+24(SB)/8, $0xab1c5ed5923f82a4
DATA k<>+32(SB)/8, $0x12835b01d807aa98
DATA k<>+40(SB)/8, $0x550c7dc3243185be
DATA k<>+48(SB)/8, $0x80deb1fe72be5d74
DATA k<>+56(SB)/8, $0xc19bf1749bdc06a7
DATA k<>+64(SB)/8, $0xefbe4786e49b69c1
DATA k<>+72(SB)/8, $0x240ca1cc0fc19dc6
DATA k<>+80(SB)/8, $0x4a7484aa2de92c6f
DATA k<>+88(SB)/8, $0x76f988da5cb0a9dc
DATA k<>+96(SB)/8, $0xa831c66d983e5152
DATA k<>+104(SB)/8, $0xbf597fc7b00327c8
DATA k<>+112(SB)/8, $0xd5a79147c6e00bf3
DATA k<>+120(SB)/8, $0x1429296706ca6351
DATA k<>+128(SB)/8, $0x2e1b213827b70a85
DATA k<>+136(SB)/8, $0x53380d134d2c6dfc
DATA k<>+144(SB)/8, $0x766a0abb650a7354
DATA k<>+152(SB)/8, $0x92722c8581c2c92e
DATA k<>+160(SB)/8, $0xa81a664ba2bfe8a1
DATA k<>+168(SB)/8, $0xc76c51a3c24b8b70
DATA k<>+176(SB)/8, $0xd6990624d192e819
DATA k<>+184(SB)/8, $0x106aa070f40e3585
DATA k<>+192(SB)/8, $0x1e376c0819a4c116
DATA k<>+200(SB)/8, $0x34b0bcb52748774c
DATA k<>+208(SB)/8, $0x4ed8aa4a391c0cb3
DATA k<>+216(SB)/8, $0x682e6ff35b9cca4f
DATA k<>+224(SB)/8, $0x78a5636f748f82ee
DATA k<>+232(SB)/8, $0x8cc7020884c87814
DATA k<>+240(SB)/8, $0xa4506ceb90befffa
DATA k<>+248(SB)/8, $0xc67178f2bef9a3f7
GLOBL k<>(SB), RODATA|NOPTR, $256
