package quota

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kbroker/kbroker/metadata"
)

var options = Options{Samples: 11, Window: time.Second, MutationSamples: 11, MutationWindow: time.Second}

// entity reads "user=alice client-id=" and the like; an empty name is the default.
func entity(t testing.TB, user, id, ip any) (e metadata.QuotaEntity) {
	t.Helper()
	part := func(name any) metadata.QuotaName {
		switch name := name.(type) {
		case nil:
			return metadata.QuotaName{}
		case string:
			if name == "" {
				return metadata.QuotaName{Kind: metadata.QuotaDefault}
			}
			return metadata.QuotaName{Kind: metadata.QuotaNamed, Name: name}
		}
		t.Fatalf("a name is %v", name)
		return metadata.QuotaName{}
	}
	return metadata.QuotaEntity{User: part(user), ClientID: part(id), IP: part(ip)}
}

// with makes a Manager with quotas.
func with(t testing.TB, records ...metadata.Record) *Manager {
	t.Helper()
	m := New(options)
	apply(t, m, records...)
	return m
}

func apply(t testing.TB, m *Manager, records ...metadata.Record) {
	t.Helper()
	im, err := new(metadata.Image).Apply(1, records...)
	if err != nil {
		t.Fatal(err)
	}
	m.Apply(im)
}

func set(e metadata.QuotaEntity, key string, value float64) metadata.Record {
	return &metadata.ClientQuotaRecord{Entity: e, Key: key, Value: &value}
}

// Rule 1.8.4: the most precise quota counts, each kind for itself, and says who shares it.
func TestPrecedence(t *testing.T) {
	names := []metadata.QuotaEntity{
		entity(t, "u", "c", nil), entity(t, "u", "", nil), entity(t, "u", nil, nil), entity(t, "", "c", nil),
		entity(t, "", "", nil), entity(t, "", nil, nil), entity(t, nil, "c", nil), entity(t, nil, "", nil),
	}
	for first := range names {
		var records []metadata.Record
		for i := first; i < len(names); i++ {
			records = append(records, set(names[i], "producer_byte_rate", float64(i+1)))
		}
		table := with(t, records...).Active()
		limit, key, ok := table.lookup(ProduceBytes, "u", "c")
		wantUser, wantID := first < 6, first != 2 && first != 5
		if !ok || limit != float64(first+1) || key.hasUser != wantUser || key.hasID != wantID {
			t.Errorf("with the entities from %+v on: %v %+v", names[first], limit, key)
		}
		if c := table.Client("u", "c"); !c.Limited(ProduceBytes) || c.Limited(FetchBytes) {
			t.Errorf("with the entities from %+v on: limited by the wrong kinds", names[first])
		}
	}
	table := with(t, set(entity(t, "u", nil, nil), "producer_byte_rate", 1)).Active()
	if table.Client("other", "c") != nil {
		t.Error("another user has a quota")
	}
	if New(options).Active() != nil || with(t).Active() != nil {
		t.Error("there are quotas where there are none")
	}
	var none *Client
	if d, ok := none.Mutate(1e9, true); none.Record(ProduceBytes, 1e9) != 0 || none.Admit(FetchBytes, 1e9) != 0 || d != 0 || !ok || !math.IsInf(none.Most(FetchBytes), 1) {
		t.Error("nobody is limited")
	}
}

// Rule 1.8.5: the time to wait is (rate - limit) / limit × window. What was done counts in full until it leaves the window,
// as in Kafka: who waited and asks again at once waits again.
func TestThrottleTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := with(t, set(entity(t, "u", nil, nil), "producer_byte_rate", 100)).Active().Client("u", "c")
		if d := c.Record(ProduceBytes, 1000); d != 0 { // ten full samples
			t.Errorf("1000 bytes at 100 a second over 10 s: wait %v", d)
		}
		d := c.Record(ProduceBytes, 500)
		if want := 5 * time.Second; d != want { // (150 - 100) / 100 × 10 s
			t.Errorf("1500 bytes: wait %v, want %v", d, want)
		}
		time.Sleep(d)
		if d := c.Record(ProduceBytes, 10); d != 5100*time.Millisecond {
			t.Errorf("a little more: wait %v", d)
		}
		time.Sleep(6 * time.Second) // the first sample has left the window, the later one not
		if d := c.Record(ProduceBytes, 990); d != 0 {
			t.Errorf("after a window: wait %v", d)
		}
		if d := c.Record(ProduceBytes, 100); d != time.Second {
			t.Errorf("more than a window: wait %v", d)
		}
	})
}

// Rule 1.8.7: what is not sent is not counted. Something too large for any window passes alone.
func TestAdmit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := with(t, set(entity(t, nil, "c", nil), "consumer_byte_rate", 100)).Active().Client("u", "c")
		if most := c.Most(FetchBytes); most != 1000 {
			t.Fatalf("one fetch may be for %v bytes", most)
		}
		if d := c.Admit(FetchBytes, 900); d != 0 {
			t.Fatalf("wait %v", d)
		}
		for range 3 {
			if d := c.Admit(FetchBytes, 300); d != 2*time.Second {
				t.Fatalf("wait %v", d)
			}
		}
		time.Sleep(11 * time.Second)
		if d := c.Admit(FetchBytes, 300); d != 0 {
			t.Errorf("after a window: wait %v", d)
		}
		time.Sleep(12 * time.Second)
		if d := c.Admit(FetchBytes, 5000); d != 0 {
			t.Errorf("a large one alone: wait %v", d)
		}
		if d := c.Admit(FetchBytes, 1); d < 30*time.Second {
			t.Errorf("after a large one: wait %v", d)
		}
		time.Sleep(12 * time.Second)
		if d := c.Admit(FetchBytes, 5000); d != 0 {
			t.Errorf("the next large one: wait %v", d)
		}
	})
}

// Rule 1.8.5: a thread's time holds nobody back for longer than a sample.
func TestRequestTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := with(t, set(entity(t, "", nil, nil), "request_percentage", 1)).Active().Client("u", "c")
		if d := c.Record(RequestTime, 10); d != 0 {
			t.Errorf("wait %v", d)
		}
		if d := c.Over(RequestTime); d != 0 {
			t.Errorf("wait %v", d)
		}
		if d := c.Record(RequestTime, 10_000); d != time.Second {
			t.Errorf("wait %v", d)
		}
		if d := c.Over(RequestTime); d != time.Second {
			t.Errorf("wait %v", d)
		}
		c.table.manager.Throttled(func(key string, times int64, total time.Duration) {
			if want := int64(one(key == "request_percentage")); times != want || total != time.Duration(want)*time.Second {
				t.Errorf("%s: held back %d times, %v together", key, times, total)
			}
		})
	})
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Rule 1.8.9: permits of mutations.
func TestMutations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := with(t, set(entity(t, "u", nil, nil), "controller_mutation_rate", 2)).Active().Client("u", "c")
		if d, ok := c.Mutate(30, true); d != 4*time.Second || !ok { // 22 were saved up: 8 are owed
			t.Fatalf("wait %v, %t", d, ok)
		}
		if d, ok := c.Mutate(1, true); d != 4*time.Second || ok {
			t.Fatalf("wait %v, %t", d, ok)
		}
		if d, ok := c.Mutate(2, false); d != 5*time.Second || !ok {
			t.Fatalf("wait %v, %t", d, ok)
		}
		c.Refund(2)
		time.Sleep(4 * time.Second)
		if d, ok := c.Mutate(1, true); !ok || d != 500*time.Millisecond {
			t.Fatalf("when the time is over: wait %v, %t", d, ok)
		}
		time.Sleep(time.Hour)
		if d, ok := c.Mutate(22, true); !ok || d != 0 {
			t.Fatalf("wait %v, %t", d, ok)
		}
		if d, _ := c.Mutate(1, true); d != 500*time.Millisecond {
			t.Fatalf("more than is saved up: wait %v", d)
		}
	})
}

// Who shares a quota shares its meter; who has one of their own is left alone. A change of quotas keeps what was counted.
func TestSharing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := with(t, set(entity(t, "u", nil, nil), "producer_byte_rate", 100), set(entity(t, "", "", nil), "producer_byte_rate", 100))
		if d := m.Active().Client("u", "a").Record(ProduceBytes, 2000); d == 0 {
			t.Error("no wait")
		}
		if d := m.Active().Client("u", "b").Record(ProduceBytes, 1); d == 0 {
			t.Error("another client of the user does not wait")
		}
		if d := m.Active().Client("v", "a").Record(ProduceBytes, 1); d != 0 {
			t.Errorf("another user waits %v", d)
		}
		apply(t, m, set(entity(t, "u", nil, nil), "producer_byte_rate", 1000))
		if d := m.Active().Client("u", "a").Record(ProduceBytes, 1); d != 0 {
			t.Errorf("wait %v after the quota was raised", d)
		}
		apply(t, m, set(entity(t, "u", nil, nil), "producer_byte_rate", 50))
		if d := m.Active().Client("u", "a").Record(ProduceBytes, 1); d < 30*time.Second {
			t.Errorf("wait %v after it was lowered", d)
		}
	})
}

func TestConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := with(t, set(entity(t, nil, nil, "10.0.0.1"), "connection_creation_rate", 1), set(entity(t, nil, nil, ""), "connection_creation_rate", 2))
		for ip, most := range map[string]int{"10.0.0.1": 10, "10.0.0.2": 20, "::ffff:10.0.0.3": 20} {
			for i := range most + 1 {
				if d := m.Connect(ip); (d > 0) != (i == most) {
					t.Errorf("connection %d of %s: wait %v", i, ip, d)
				}
			}
		}
		time.Sleep(11 * time.Second)
		if d := m.Connect("10.0.0.1"); d != 0 {
			t.Errorf("later: wait %v", d)
		}
		if d := New(options).Connect("10.0.0.1"); d != 0 {
			t.Errorf("without quotas: wait %v", d)
		}
	})
}

// A client that waits as long as it is told never gets more than its quota and a window's worth on top, whatever it does.
func TestRateHolds(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			limit := 50 + rng.Float64()*1000
			c := with(t, set(entity(t, "u", nil, nil), "producer_byte_rate", limit)).Active().Client("u", "c")
			began, total := time.Now(), 0.0
			for range 500 {
				n := rng.Float64() * limit * 3
				wait := c.Record(ProduceBytes, n)
				total += n
				if elapsed := (time.Since(began) + wait).Seconds(); total > limit*(elapsed+12) {
					t.Fatalf("seed %d: %v bytes in %v s at %v a second", seed, total, elapsed, limit)
				}
				time.Sleep(wait + time.Duration(rng.Int64N(int64(2*time.Second))))
			}
		})
	}
}

// Meters are bounded: unused ones are forgotten, also under the hands of who holds them, and beyond the bound newcomers
// share one.
func TestMetersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := with(t, set(entity(t, nil, "", nil), "producer_byte_rate", 100))
		m.most = 500
		first := m.Active().Client("u", "first")
		first.Record(ProduceBytes, 1)
		for i := range m.most + 100 {
			m.Active().Client("u", fmt.Sprint(i)).Record(ProduceBytes, 1)
		}
		if n := len(m.meters); n > m.most+1 {
			t.Errorf("%d meters", n)
		}
		if d := m.Active().Client("u", "late").Record(ProduceBytes, 1000); d == 0 {
			t.Error("those who share a meter are not limited together")
		}
		time.Sleep(13 * time.Second)
		c := m.Active().Client("u", "new")
		if n := len(m.meters); n > 10 {
			t.Errorf("%d meters are left", n)
		}
		c.Record(ProduceBytes, 5000)
		if d := m.Active().Client("u", "new").Record(ProduceBytes, 1); d == 0 {
			t.Error("two meters for one client")
		}
		first.Record(ProduceBytes, 5000) // with a meter that was forgotten
		if d := m.Active().Client("u", "first").Record(ProduceBytes, 1); d == 0 {
			t.Error("a forgotten meter goes on to count")
		}
	})
}

// A client may call itself anything, and its name is not what a meter keeps: long names count apart all the same.
func TestLongNames(t *testing.T) {
	m := with(t, set(entity(t, nil, "", nil), "producer_byte_rate", 100))
	long := strings.Repeat("x", 30_000)
	a, b := m.Active().Client("u", long+"a"), m.Active().Client("u", long+"b")
	if a.Record(ProduceBytes, 5000) == 0 || a.Record(ProduceBytes, 1) == 0 {
		t.Error("a client with a long name is not limited")
	}
	if b.Record(ProduceBytes, 1) != 0 {
		t.Error("two long names share a meter")
	}
	if m.Active().Client("u", long+"a").Record(ProduceBytes, 1) == 0 {
		t.Error("a long name has two meters")
	}
	for key := range m.meters {
		if n := len(key.user) + len(key.id); n > 2*maxName {
			t.Errorf("a meter keeps a name of %d bytes", n)
		}
	}
}

// Many goroutines may count at once.
func TestParallel(t *testing.T) {
	m := with(t, set(entity(t, "", "", nil), "producer_byte_rate", 1e12), set(entity(t, "", "", nil), "controller_mutation_rate", 1e12))
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 2000 {
				c := m.Active().Client("u", fmt.Sprint((g+i)%5))
				c.Record(ProduceBytes, 1)
				c.Mutate(1, true)
				if i%100 == 0 {
					apply(t, m, set(entity(t, "", "", nil), "producer_byte_rate", 1e12), set(entity(t, "", "", nil), "controller_mutation_rate", 1e12))
				}
			}
		})
	}
	all.Wait()
}

// Recording allocates nothing, and asking whether there are quotas costs a load.
func TestAllocations(t *testing.T) {
	m := with(t, set(entity(t, "u", nil, nil), "producer_byte_rate", 100))
	c := m.Active().Client("u", "c")
	if n := testing.AllocsPerRun(1000, func() {
		c.Record(ProduceBytes, 1)
		c.Admit(FetchBytes, 1)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
