package clientsuites

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/kbroker/kbroker/integration/kafkapeer"
	"github.com/kbroker/kbroker/integration/kbrokerproc"
	"github.com/kbroker/kbroker/integration/process"
)

var against = flag.String("against", "kbroker", "kbroker, or kafka for a real Kafka, to tell whose fault it is")

// startBroker starts what is tested on a port that the caller may have chosen; 0 is any. It returns its address.
func startBroker(t *testing.T, port int, properties ...string) string {
	t.Helper()
	if *against == "kafka" {
		return kafkapeer.StartForTest(t, kafkapeer.Config{Port: port, Properties: properties}).Bootstrap()
	}
	return kbrokerproc.StartForTest(t, kbrokerproc.Config{Port: port, Properties: properties}).Bootstrap()
}

// killer kills a kbroker again and again and starts it on what it left.
type killer struct {
	every time.Duration
	stop  chan struct{}
	ended sync.WaitGroup
	kills int   // valid once ended
	err   error // valid once ended
}

// startKilled starts a kbroker that is killed with SIGKILL as often as asked, until end is called. Its clients reach it
// through a front.
func startKilled(t *testing.T, every time.Duration) (bootstrap string, k *killer) {
	t.Helper()
	port := process.FreePort(1)
	bootstrap = process.Loopback(port)
	node := kbrokerproc.StartForTest(t, kbrokerproc.Config{Properties: []string{"advertised.listeners=PLAINTEXT://" + bootstrap}})
	startFront(t, port, node.Bootstrap())
	binary, err := kbrokerproc.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	k = &killer{every: every, stop: make(chan struct{})}
	k.ended.Go(func() { k.run(t, binary, node) })
	return bootstrap, k
}

// run ends when stop is closed.
func (k *killer) run(t *testing.T, binary string, node *kbrokerproc.Node) {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-node.Exited():
			k.err = fmt.Errorf("kbroker exited by itself:\n%s", node.LogTail())
			return
		case <-tick.C:
		}
		node.Kill()
		k.kills++
		next, err := kbrokerproc.Start(t.Context(), binary, node.Config())
		if err != nil {
			k.err = fmt.Errorf("after kill %d: %w", k.kills, err)
			return
		}
		node = next
		t.Cleanup(next.Close)
	}
}

// end stops the killing. It is an error if there was none.
func (k *killer) end(t *testing.T) {
	t.Helper()
	close(k.stop)
	k.ended.Wait()
	if k.err != nil || k.kills == 0 {
		t.Errorf("killed %d times: %v", k.kills, k.err)
	}
	t.Logf("kbroker was killed %d times", k.kills)
}
