//go:build linux

package disk

import "golang.org/x/sys/unix"

const fstatat = unix.SYS_FSTATAT
