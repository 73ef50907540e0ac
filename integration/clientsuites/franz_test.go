package clientsuites

import (
	"flag"
	"fmt"
	"strconv"
	"testing"
	"time"
)

var (
	records = flag.Int("records", 20_000, "how many records franz-go's group tests pass on; the library's own default is 500000")
	rounds  = flag.Int("rounds", 1, "how often TestFranzGo runs the suite, on one broker")
	chaos   = flag.Bool("chaos", false, "let the connections of franz-go's group tests die after a second")
	kills   = flag.Duration("kills", 0, "run franz-go's group tests while the broker is killed this often")
)

// franzTimeout is for one round. With the library's own number of records it takes some minutes.
const franzTimeout = "25m"

func compileFranz(t *testing.T) *suite {
	t.Helper()
	s := module{"franz-go", "github.com/twmb/franz-go"}.compile(t, "github.com/twmb/franz-go/pkg/kgo")
	s.readLeftOut(t, "franz-go.txt")
	return s
}

func franzEnvironment(bootstrap string, records int) []string {
	env := []string{"KGO_SEEDS=" + bootstrap, "KGO_TEST_RF=1", "KGO_LOG_LEVEL=none", "KGO_TEST_RECORDS=" + strconv.Itoa(records)}
	if *chaos {
		env = append(env, "KGO_TEST_CHAOS=1")
	}
	return env
}

// TestFranzGo runs franz-go's tests. With -kills it runs those of groups, while the broker is killed.
func TestFranzGo(t *testing.T) {
	t.Parallel()
	s := compileFranz(t)
	if *kills > 0 {
		runKilled(t, s, *kills, *records)
		return
	}
	bootstrap := startBroker(t, 0)
	for round := range *rounds {
		t.Run(fmt.Sprintf("round%d", round+1), func(t *testing.T) {
			s.run(t, options{env: franzEnvironment(bootstrap, *records), timeout: franzTimeout})
		})
	}
}

// TestFranzGoKilled runs those of groups while the broker is killed every ten seconds, three or four times.
func TestFranzGoKilled(t *testing.T) {
	t.Parallel()
	runKilled(t, compileFranz(t), 10*time.Second, 150_000)
}

// runKilled runs franz-go's tests of groups while the broker is killed and started again: they fail if a record is lost,
// or seen twice by a group. TestPauseIssueOct2023 comes before them because it asks the broker what it can, without which
// they skip themselves.
func runKilled(t *testing.T, s *suite, every time.Duration, records int) {
	t.Helper()
	s.readLeftOut(t, "franz-go-killed.txt")
	bootstrap, killer := startKilled(t, every)
	s.run(t, options{env: franzEnvironment(bootstrap, records), only: "^(TestPauseIssueOct2023|TestIssue1034|TestGroup)", timeout: franzTimeout})
	killer.end(t)
}
