//go:build !linux

package store

import "errors"

func syncFS(int) error { return errors.ErrUnsupported }

func forget(int) {}

func cloneFile(int, int) error { return errors.ErrUnsupported }

func reserve(int, int64, int64) {}

func isHole(int, int64, int64) bool { return false }
