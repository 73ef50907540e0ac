package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// healthInterval is the pause between two looks at a broker that is not there yet.
const healthInterval = 100 * time.Millisecond

// healthCommand is `kbroker health`.
func healthCommand() *cobra.Command {
	c := &connection{}
	var o output
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "health", Short: "Say whether a broker serves clients", Args: cobra.NoArgs,
		Long:    `Ask a broker for the cluster's metadata, as every client does first. The exit code is 0 if it answers, and 3 if none does.`,
		Example: `  kbroker start & kbroker health --wait 10s && run-my-tests`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			h, err := waitHealthy(cmd.Context(), c, wait)
			if err != nil {
				return err
			}
			return o.print(cmd.OutOrStdout(), h, nil, [][]string{{"cluster", h.Cluster}, {"controller", fmt.Sprint(h.Controller)}, {"brokers", fmt.Sprint(h.Brokers)}})
		},
	}
	c.add(cmd)
	o.add(cmd)
	cmd.Flags().DurationVar(&wait, "wait", 0, "how long to wait for it")
	return cmd
}

// health is what a healthy cluster says of itself.
type health struct {
	Cluster    string `json:"cluster"`
	Controller int32  `json:"controller"`
	Brokers    int    `json:"brokers"`
}

// waitHealthy asks until a broker answers or wait is over.
func waitHealthy(ctx context.Context, c *connection, wait time.Duration) (health, error) {
	deadline := time.Now().Add(wait)
	for {
		h, err := askHealth(ctx, c)
		left := time.Until(deadline)
		if err == nil || ctx.Err() != nil || left <= 0 {
			return h, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(min(left, healthInterval)):
		}
	}
}

func askHealth(ctx context.Context, c *connection) (h health, err error) {
	err = c.admin(ctx, func(ctx context.Context, a *kadm.Client) error {
		m, err := a.BrokerMetadata(ctx)
		if err != nil {
			return fmt.Errorf("asking for the cluster's metadata: %w", err)
		}
		if m.Controller < 0 || len(m.Brokers) == 0 {
			return &exitError{exitFailed, errors.New("the cluster has no controller yet")}
		}
		h = health{m.Cluster, m.Controller, len(m.Brokers)}
		return nil
	})
	return h, err
}
