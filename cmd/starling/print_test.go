package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWordsForNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{bytesWords(0), "0 B"}, {bytesWords(1023), "1023 B"}, {bytesWords(1 << 10), "1.0 KiB"}, {bytesWords(43_200_000), "41.2 MiB"}, {bytesWords(3 << 30), "3.0 GiB"},
		{age(0), "0s"}, {age(119), "119s"}, {age(600), "10m"}, {age(7200), "2h"}, {age(5 * 86400), "5d"},
		{span(0), "0s"}, {span(2 * time.Hour), "2h"}, {span(90 * time.Minute), "1h30m"}, {span(30 * time.Second), "30s"}, {span(10 * time.Minute), "10m"},
		{percent(50), "5 %"}, {percent(451), "45.1 %"},
		{labelWords(map[string]string{"site": "north", "model": "mk1"}), "model=mk1 site=north"},
	} {
		require.Equal(t, c.want, c.got)
	}
}
