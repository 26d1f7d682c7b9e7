//go:build !unix

package node

// mark does nothing: this system gives sockets no DSCP.
func mark(uintptr, int) {}
