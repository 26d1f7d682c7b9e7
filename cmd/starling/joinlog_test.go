package main

import (
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAJoiningRobotsWarningsAreSaidOnce(t *testing.T) {
	var said []string
	j := newJoinLog(func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) })
	log := slog.New(j).With("node", 1)
	log.Info("listening")
	log.Warn("not reached, trying again", "err", errors.New("refused"))
	log.Warn("not reached, trying again", "err", errors.New("refused"))
	log.Warn("not reached, trying again", "err", errors.New("no route"))
	log.Warn("other timers", "profile", "lan")
	require.Equal(t, []string{"  not reached, trying again: refused", "  not reached, trying again: no route"}, said)
	j.hush()
	log.Error("going")
	require.Len(t, said, 2)
	require.Equal(t, "not reached, trying again: no route", j.cause())
}
