package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestStore(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want Store
		err  string
	}{
		"nothing":      {"", Store{Mark{Permille: 850}, Mark{Permille: 750}}, ""},
		"share":        {"store: {high: 90%, low: 62.5%}", Store{Mark{Permille: 900}, Mark{Permille: 625}}, ""},
		"high alone":   {"store: {high: 8%}", Store{Mark{Permille: 80}, Mark{Permille: 40}}, ""},
		"bytes":        {"store: {high: 20GiB}", Store{Mark{Bytes: 20 << 30}, Mark{Bytes: 16 << 30}}, ""},
		"off":          {"store: {high: off}", Store{}, ""},
		"both kinds":   {"store: {high: 90%, low: 1GiB}", Store{}, "of one kind"},
		"upside down":  {"store: {high: 1GiB, low: 2GiB}", Store{}, "low must be below high"},
		"low off":      {"store: {low: off}", Store{}, "low cannot be off"},
		"no share":     {"store: {high: 120%}", Store{}, "no share of a disk"},
		"no number":    {"store: {high: NaN%}", Store{}, "no share of a disk"},
		"too little":   {"store: {high: 0.05%}", Store{}, "no share of a disk"},
		"no size":      {"store: {high: much}", Store{}, "a size such as 20GiB"},
		"unknown keys": {"store: {hihg: 90%}", Store{}, "hihg"},
	} {
		t.Run(name, func(t *testing.T) {
			conf, err := Parse([]byte("dir: /x\n" + c.text))
			if err == nil {
				conf.resolve(".")
				err = conf.Validate()
			}
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, conf.Store)
		})
	}
}

func TestStoreFromTheEnvironment(t *testing.T) {
	c := &Config{}
	require.NoError(t, c.override([]string{"STARLING_STORE_HIGH=9GiB"}))
	require.Equal(t, Mark{Bytes: 9 << 30}, c.Store.High)
	require.ErrorContains(t, c.override([]string{"STARLING_STORE_LOW=much"}), "STARLING_STORE_LOW")
}
