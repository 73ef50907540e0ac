package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kbroker/kbroker/internal/broker"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/gcpace"
	"github.com/kbroker/kbroker/internal/vfs"
)

// nodeDefaults are kbroker's own where Kafka's would not start on one machine by themselves, or would listen to
// everybody. The data directory has the weaker of its two names, so that a file can use either.
var nodeDefaults = map[string]string{
	"node.id":   "1",
	"listeners": "PLAINTEXT://127.0.0.1:9092",
	"log.dir":   "kbroker-data",
}

// settingFlags are the flags that set settings, and the file that has some.
type settingFlags struct {
	options      []string
	listen, data string
}

func (f *settingFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVarP(&f.options, "option", "o", nil, "a setting as KEY=VALUE; may be repeated")
	cmd.Flags().StringVar(&f.listen, "listen", "", "HOST:PORT to serve clients on (listeners)")
}

func (f *settingFlags) addData(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "the data directory (log.dirs)")
}

// sources are the settings of all places; args holds the file's name, if any.
func (f *settingFlags) sources(args []string) (config.Sources, error) {
	from := config.Sources{Defaults: maps.Clone(nodeDefaults), Environ: os.Environ(), Options: f.options}
	if len(args) == 1 {
		from.File = args[0]
	}
	if f.listen != "" {
		if _, _, err := net.SplitHostPort(f.listen); err != nil {
			return from, &exitError{exitUsage, fmt.Errorf("--listen %s: write it as HOST:PORT, such as 127.0.0.1:9092", f.listen)}
		}
		from.Options = append(from.Options, "listeners=PLAINTEXT://"+f.listen)
	}
	if f.data != "" {
		from.Options = append(from.Options, "log.dirs="+f.data)
	}
	return from, nil
}

// startCommand is `kbroker start`.
func startCommand() *cobra.Command {
	var flags settingFlags
	cmd := &cobra.Command{
		Use:   "start [server.properties]",
		Short: "Start a durable node",
		Long: `Start a node on its data directory, making it at the first start.

Settings are Kafka's, by strength: -o KEY=VALUE, environment (KAFKA_LISTENERS and so on), the file, defaults.
See docs/configuration.md, or kbroker config show.`,
		Example: `  kbroker start
  kbroker start server.properties --data /var/lib/kbroker
  kbroker start --listen 0.0.0.0:9092 -o num.partitions=3`,
		Args: arguments(0, 1, "one file at most"),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, err := flags.sources(args)
			if err != nil {
				return err
			}
			n := node{from: from, level: slog.LevelInfo, listen: net.Listen}
			return n.run(cmd.Context(), func(*broker.Broker) {})
		},
	}
	flags.add(cmd)
	flags.addData(cmd)
	return cmd
}

// stopLimit is how long an orderly stop may take.
const stopLimit = time.Minute

// node is a broker that this process runs.
type node struct {
	from   config.Sources
	level  slog.Level
	listen func(network, address string) (net.Listener, error)
}

// run serves clients until ctx ends, and calls ready when it begins to.
func (n *node) run(ctx context.Context, ready func(*broker.Broker)) error {
	defer gcpace.Start().Stop()
	loggers := config.NewLoggers(logHandler(), n.level)
	logger := loggers.Logger("kbroker")
	store, err := loadConfig(n.from)
	if err != nil {
		return err
	}
	sayWhatIsIgnored(logger, store.Settings())
	b, err := broker.Start(ctx, broker.Options{Config: store, FS: vfs.OS(), Listen: n.listen, Loggers: loggers, Logger: logger})
	if err != nil {
		return &exitError{startCode(err), err}
	}
	logger.Info("ready", "event", "ready", "bootstrap", b.Addr().String(), "data", strings.Join(store.Broker().LogDirs, ","))
	ready(b)
	failed := b.Wait(ctx)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
	defer cancel()
	if err := errors.Join(failed, b.Stop(stop)); err != nil {
		return &exitError{exitIO, err}
	}
	logger.Info("stopped", "event", "stopped")
	return nil
}

// loadConfig reads and checks the settings.
func loadConfig(from config.Sources) (*config.Store, error) {
	settings, err := config.Load(from)
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	store, err := config.NewStore(settings)
	if err != nil {
		return nil, &exitError{exitConfig, err}
	}
	return store, nil
}

// sayWhatIsIgnored says once what was set and changes nothing: one line for each reason, so that a file of a Kafka
// cluster does not fill the log.
func sayWhatIsIgnored(logger *slog.Logger, settings *config.Settings) {
	for _, w := range settings.Warnings {
		logger.Warn(w, "event", "settings")
	}
	if unknown := settings.Unknown(); len(unknown) > 0 {
		logger.Warn("these settings are not known and have no effect; look for a misspelling, or take them out",
			"event", "settings", "settings", names(unknown), "meant", suggestions(unknown))
	}
	if ignored := settings.WithoutEffect(); len(ignored) > 0 {
		logger.Warn("these settings are accepted without effect; kbroker config check says why",
			"event", "settings", "settings", names(ignored))
	}
}

// suggestions are the settings that were probably meant; there may be fewer of them, or none.
func suggestions(unknown []config.Setting) string {
	var all []string
	for _, s := range unknown {
		if near := config.Suggest(s.Name); near != "" {
			all = append(all, near)
		}
	}
	return strings.Join(all, " ")
}

func names(settings []config.Setting) string {
	var all []string
	for _, s := range settings {
		all = append(all, s.Name)
	}
	return strings.Join(all, " ")
}

// logHandler is text on a terminal and JSON otherwise. Loggers filter by level.
func logHandler() slog.Handler {
	all := &slog.HandlerOptions{Level: slog.LevelDebug - 4}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return slog.NewTextHandler(os.Stderr, all)
	}
	return slog.NewJSONHandler(os.Stderr, all)
}
