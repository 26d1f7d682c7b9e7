// Command desync tells how many bytes a robot that has one file would fetch to get
// another with desync: chunks of 16, 64 and 256 KiB by its own cut, those that the
// old file lacks, each packed as its chunk stores pack them. It writes the number.
package main

import (
	"fmt"
	"os"

	"github.com/folbricht/desync"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: desync OLD NEW")
		os.Exit(2)
	}
	n, err := missing(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "desync:", err)
		os.Exit(1)
	}
	fmt.Println(n)
}

func missing(older, newer string) (bytes int64, err error) {
	held := map[desync.ChunkID]bool{}
	err = each(older, func(id desync.ChunkID, _ []byte) error { held[id] = true; return nil })
	if err != nil {
		return 0, err
	}
	err = each(newer, func(id desync.ChunkID, data []byte) error {
		if held[id] {
			return nil
		}
		held[id] = true
		packed, err := desync.Compress(data)
		bytes += int64(len(packed))
		return err
	})
	return bytes, err
}

// each calls use for every chunk of a file.
func each(name string, use func(id desync.ChunkID, data []byte) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	const avg = 64 << 10
	c, err := desync.NewChunker(f, avg/4, avg, avg*4)
	if err != nil {
		return err
	}
	for {
		_, data, err := c.Next()
		if err != nil || len(data) == 0 {
			return err
		}
		if err := use(desync.ChunkID(desync.Digest.Sum(data)), data); err != nil {
			return err
		}
	}
}
