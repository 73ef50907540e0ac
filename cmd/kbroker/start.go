package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kbroker/kbroker/internal/broker"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/vfs"
)

// nodeDefaults are kbroker's own where Kafka's would not start on one machine by themselves, or would listen to
// everybody.
var nodeDefaults = map[string]string{
	"node.id":   "1",
	"listeners": "PLAINTEXT://127.0.0.1:9092",
	"log.dirs":  "kbroker-data",
}

// startCommand is `kbroker start`.
func startCommand() *cobra.Command {
	var options []string
	var listen, data string
	cmd := &cobra.Command{
		Use:   "start [server.properties]",
		Short: "Start a durable node",
		Long: `Start a node on its data directory, making it at the first start.

Settings are Kafka's, by strength: -o KEY=VALUE, environment (KAFKA_LISTENERS and so on), the file, defaults.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			from := config.Sources{Defaults: maps.Clone(nodeDefaults), Environ: os.Environ(), Options: options}
			if len(args) == 1 {
				from.File = args[0]
			}
			if listen != "" {
				from.Options = append(from.Options, "listeners=PLAINTEXT://"+listen)
			}
			if data != "" {
				from.Options = append(from.Options, "log.dirs="+data)
			}
			return serve(cmd.Context(), from, func(b *broker.Broker, logger *slog.Logger) {
				logger.Info("ready", "event", "ready", "bootstrap", b.Addr().String())
			})
		},
	}
	cmd.Flags().StringArrayVarP(&options, "option", "o", nil, "a setting, KEY=VALUE; may be repeated")
	cmd.Flags().StringVar(&listen, "listen", "", "HOST:PORT to serve clients on (listeners)")
	cmd.Flags().StringVar(&data, "data", "", "the data directory (log.dirs)")
	return cmd
}

// stopLimit is how long an orderly stop may take.
const stopLimit = time.Minute

// serve runs a node until the context ends, calling ready when clients are served.
func serve(ctx context.Context, from config.Sources, ready func(*broker.Broker, *slog.Logger)) error {
	// The heap is small and buffers are pooled outside of it: fewer collections cost little memory.
	debug.SetGCPercent(400)
	loggers := config.NewLoggers(logHandler(), slog.LevelInfo)
	logger := loggers.Logger("kbroker")
	settings, err := config.Load(from)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	store, err := config.NewStore(settings)
	if err != nil {
		return &exitError{exitConfig, err}
	}
	for _, w := range settings.Warnings {
		logger.Warn(w)
	}
	b, err := broker.Start(ctx, broker.Options{Config: store, FS: vfs.OS(), Listen: net.Listen, Loggers: loggers, Logger: logger})
	if err != nil {
		return &exitError{startCode(err), err}
	}
	ready(b, logger)
	failed := b.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if err := errors.Join(failed, b.Stop(stop)); err != nil {
		return &exitError{exitIO, err}
	}
	return nil
}

// startCode chooses the exit code of a start that failed.
func startCode(err error) int {
	var port *broker.PortError
	var locked *vfs.LockedError
	var path *fs.PathError
	switch {
	case errors.As(err, &locked), errors.As(err, &port) && errors.Is(err, syscall.EADDRINUSE):
		return exitTaken
	case errors.As(err, &port):
		return exitConfig
	case errors.As(err, &path):
		return exitIO
	}
	return exitInternal
}

// logHandler is text on a terminal and JSON otherwise.
func logHandler() slog.Handler {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.NewTextHandler(os.Stderr, nil)
	}
	return slog.NewJSONHandler(os.Stderr, nil)
}

// devCommand is `kbroker dev`.
func devCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dev",
		Short: "Start a node to try things with; its data is gone when it stops",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := os.MkdirTemp("", "kbroker-dev-")
			if err != nil {
				return &exitError{exitIO, err}
			}
			defer os.RemoveAll(dir)
			from := config.Sources{Defaults: maps.Clone(nodeDefaults), Environ: os.Environ()}
			from.Defaults["log.dirs"] = filepath.ToSlash(dir)
			from.Defaults["kbroker.durability"] = "replicated"
			return serve(cmd.Context(), from, func(b *broker.Broker, _ *slog.Logger) { greet(cmd, b) })
		},
	}
}

// greet prints what a newcomer needs and nothing else.
func greet(cmd *cobra.Command, b *broker.Broker) {
	address := b.Addr().String()
	cmd.Printf("bootstrap  %s\n", address)
	if h := b.HTTPAddr(); h != nil {
		cmd.Printf("http       http://%s\n", h)
	}
	cmd.Printf("produce    echo hello | kbroker produce demo --bootstrap %s\n", address)
	cmd.Printf("consume    kbroker consume demo --from start --bootstrap %s\n", address)
}
