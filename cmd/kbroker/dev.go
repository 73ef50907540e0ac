package main

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kbroker/kbroker/internal/broker"
)

// devHTTP is where dev serves HTTP, if nobody else does there.
const devHTTP = "127.0.0.1:8080"

// devCommand is `kbroker dev`.
func devCommand() *cobra.Command {
	var flags settingFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start a node to try things with; nothing is kept",
		Long: `Start a single node on loopback with a temporary data directory, which is removed when the node stops.

It is as durable as Kafka by default: what was acknowledged is in the page cache. kbroker start keeps it on the disk.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, err := flags.sources(nil)
			if err != nil {
				return err
			}
			dir, err := os.MkdirTemp("", "kbroker-dev-")
			if err != nil {
				return &exitError{exitIO, err}
			}
			defer os.RemoveAll(dir)
			n := node{from: from, level: slog.LevelWarn, listen: listenNear}
			n.from.Options = append(n.from.Options, "log.dirs="+filepath.ToSlash(dir)) // stronger than the environment
			n.from.Defaults["kbroker.durability"] = "replicated"
			n.from.Defaults["kbroker.http.listeners"] = devHTTP
			return n.run(cmd.Context(), func(b *broker.Broker) { greet(cmd, b) })
		},
	}
	flags.add(cmd)
	return cmd
}

// listenNear is net.Listen, and takes any port where devHTTP has an owner: many things serve HTTP on 8080, and nobody
// who tries kbroker wants to look for one.
func listenNear(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if address == devHTTP && errors.Is(err, syscall.EADDRINUSE) {
		return net.Listen(network, "127.0.0.1:0")
	}
	return l, err
}

// greet prints what a newcomer needs and nothing else.
func greet(cmd *cobra.Command, b *broker.Broker) {
	out, me, address := cmd.OutOrStdout(), shellWord(os.Args[0]), b.Addr().String()
	lines := []string{"bootstrap  " + address}
	if h := b.HTTPAddr(); h != nil {
		lines = append(lines, "http       http://"+h.String())
	}
	lines = append(lines,
		"produce    echo hello | "+me+" produce demo -b "+address,
		"consume    "+me+" consume demo -b "+address)
	for _, l := range lines {
		_, _ = out.Write([]byte(l + "\n")) // nobody reads it: the node serves all the same
	}
}

// shellWord quotes a word for a shell where it needs to be.
func shellWord(word string) string {
	if word != "" && strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
