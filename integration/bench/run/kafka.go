//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kbroker/kbroker/integration/kafkapeer"
)

// kafkaHeap is what Kafka's own start script asks for.
const kafkaHeap = "1G"

// kafkaProperties are Kafka's defaults but for the socket buffers, which its shipped server.properties pins to 100 KiB
// and which do better when the system sizes them, and for the delay after which a deleted topic frees its space.
func kafkaProperties(d durability) []string {
	p := []string{"socket.send.buffer.bytes=-1", "socket.receive.buffer.bytes=-1", "log.segment.delete.delay.ms=1000"}
	p = append(p, groupTimers...)
	if d == synced {
		p = append(p, "log.flush.interval.messages=1")
	}
	return p
}

// groupTimers turns off the delays by which a coordinator waits for more members: its work is to be measured.
var groupTimers = []string{"group.initial.rebalance.delay.ms=0", "group.consumer.assignment.interval.ms=0"}

func startKafka(ctx context.Context, dir string, port int, d durability) (*server, error) {
	jars, err := kafkapeer.Install(ctx)
	if err != nil {
		return nil, err
	}
	node, err := jars.Start(ctx, kafkapeer.Config{Dir: dir, Port: port, Heap: kafkaHeap, Properties: kafkaProperties(d)})
	if err != nil {
		return nil, err
	}
	return &server{contender: kafka, addr: node.Bootstrap(), dir: node.DataDir(), pid: node.PID(), log: func() string { return "" }, stop: func() {
		node.Close()
		_ = os.RemoveAll(dir)
	}}, nil
}

// kafkaCommand gives dir a freshly formatted data directory and returns the command line of a node that uses it. The
// first time it lets a node of kafkapeer write the configuration.
func kafkaCommand(ctx context.Context, dir string, port int) ([]string, error) {
	jars, err := kafkapeer.Install(ctx)
	if err != nil {
		return nil, err
	}
	properties := filepath.Join(dir, "server.properties")
	if _, err := os.Stat(properties); err != nil {
		node, err := jars.Start(ctx, kafkapeer.Config{Dir: dir, Port: port, Heap: kafkaHeap, Properties: kafkaProperties(pageCache)})
		if err != nil {
			return nil, err
		}
		node.Close()
	}
	if err := os.RemoveAll(filepath.Join(dir, "data")); err != nil {
		return nil, err
	}
	format := jars.Command(ctx, "kafka.tools.StorageTool", "format", "-t", "a2Jyb2tlci1iZW5jaG1hcg", "-c", properties)
	if out, err := format.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("format a directory for Kafka: %w\n%s", err, out)
	}
	return []string{"java", "-Xmx" + kafkaHeap, "-Xms" + kafkaHeap, "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
		"-XX:InitiatingHeapOccupancyPercent=35", "-Djava.awt.headless=true",
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.yaml"), "-cp", jars.ClassPath(), "kafka.Kafka", properties}, nil
}
