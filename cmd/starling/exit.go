package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/starling-swarm/starling/consensus/order"
	"github.com/starling-swarm/starling/node/api"
)

// exitTable prints what each exit code means.
func exitTable(w io.Writer) {
	for _, i := range api.Codes() {
		fmt.Fprintf(w, "  %3d   %-14s %s\n", i.Exit, i.Code, i.Meaning)
	}
	fmt.Fprintf(w, "\nMore may be added; an unknown one is a failure.\n")
}

// exitCodesCommand is a topic of help, and no command.
func exitCodesCommand() *cobra.Command {
	var table strings.Builder
	exitTable(&table)
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: "Every command ends with one of these:\n\n" + table.String()}
}

// helpCommand is "starling help TOPIC".
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help on a command, and on exit-codes",
		Example: `  starling help ship
  starling help rollout start
  starling help exit-codes`,
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(root, strings.Join(args, " "))
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// versionInfo is what version prints.
type versionInfo struct {
	Schema   string `json:"schema"`
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Level    uint   `json:"level"` // the newest feature level that this build reads
}

func (c *cli) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print which build this is",
		Example: `  starling version
  starling version --json
  starling version -q`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionInfo{Schema: "starling.version/v1", Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, Level: order.Level}
			if info, ok := debug.ReadBuildInfo(); ok {
				if info.Main.Version != "" {
					v.Version = info.Main.Version
				}
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						v.Commit = s.Value[:min(len(s.Value), 12)]
					}
				}
			}
			return c.answer(v, func() { c.say("starling %s %s %s, feature level %d", v.Version, v.Go, v.Platform, v.Level) })
		},
	}
}
