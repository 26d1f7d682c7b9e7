//go:build !planted

package planted

// Is reports whether this bug is planted: it is not.
func Is(string) bool { return false }
