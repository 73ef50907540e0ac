package power

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kbroker/kbroker/integration/kbrokerproc"
)

// The topics of a round. Beside them each cycle makes one of its own, so that directories and first segments are made
// under load, and deletes the one of the cycle before the last.
const (
	sharedTopic      = "shared" // for idempotent producers, which live as long as the round
	sharedPartitions = 4
	leaderTopic      = "leader" // for producers with acks=1
	leaderPartitions = 2
	cyclePartitions  = 2
	idempotents      = 3
)

// strike ends the running broker somehow and leaves the disk ready for the next start.
type strike func(r *round) error

// round is some cycles of load, strike, restart and full read, on one disk.
type round struct {
	binary string
	config kbrokerproc.Config
	node   *kbrokerproc.Node // the one that runs or ran last
	disk   *disk
	strike strike
	names  string // journal of names, see names_linux.go; empty if the broker writes none
	ledger *ledger
	rng    *rand.Rand
	shared []*producer
	// found is what is wrong; a broken broker ends the round early.
	found  findings
	cycles int // done
}

// newRound makes a disk below dir, starts the broker on it and connects the producers that live through the round. The
// data directory is the mount itself, which lets the broker sync the whole file system at once, or a folder on it.
func newRound(ctx context.Context, dir, binary string, env []string, s strike, ownMount bool, seed uint64) (*round, error) {
	d, err := newDisk(filepath.Join(dir, "disk.img"), filepath.Join(dir, "disk"), 1<<30)
	if err != nil {
		return nil, err
	}
	r := &round{
		binary: binary, disk: d, strike: s, ledger: newLedger(), rng: rand.New(rand.NewPCG(seed, 0)),
		config: kbrokerproc.Config{
			Dir: dir, Env: env, Properties: []string{"log.segment.bytes=1048576", "auto.create.topics.enable=false"},
		},
	}
	data := d.dir
	if !ownMount {
		data = filepath.Join(d.dir, "kbroker")
	}
	err = errors.Join(os.MkdirAll(data, 0o755), os.Symlink(data, filepath.Join(dir, "data")))
	if err == nil {
		err = r.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.close()) // on an empty directory: nothing can be concluded from it
	}
	var targets []partition
	for id := range int32(sharedPartitions) {
		targets = append(targets, partition{sharedTopic, id})
	}
	for k := range uint64(idempotents) {
		p, err := newProducer(k, true, r.node.Bootstrap(), r.ledger, r.fork(), targets...)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.shared = append(r.shared, p)
	}
	return r, nil
}

// fork returns a random source of its own for another goroutine.
func (r *round) fork() *rand.Rand { return rand.New(rand.NewPCG(r.rng.Uint64(), r.rng.Uint64())) }

// start starts the broker, after the first time on the same port.
func (r *round) start(ctx context.Context) error {
	node, err := kbrokerproc.Start(ctx, r.binary, r.config)
	if err != nil {
		return err
	}
	r.node, r.config = node, node.Config()
	return nil
}

// close kills what runs and deletes the disk.
func (r *round) close() error {
	if r.node != nil {
		r.node.Kill()
	}
	for _, p := range r.shared {
		p.client.Close()
	}
	return r.disk.remove()
}

// run does n cycles, or fewer if something is found, and a clean stop and start at the end. Its error is about the
// harness; what is wrong with the broker is in r.found.
func (r *round) run(ctx context.Context, n int) error {
	for _, topic := range []struct {
		name       string
		partitions int32
	}{{sharedTopic, sharedPartitions}, {leaderTopic, leaderPartitions}} {
		if err := r.createTopic(ctx, topic.name, topic.partitions); err != nil {
			return err
		}
	}
	for r.cycles < n {
		if err := r.cycle(ctx); err != nil {
			return fmt.Errorf("cycle %d: %w", r.cycles, err)
		}
		if r.restartAndRead(ctx); r.found.wrong() > 0 {
			return nil
		}
		r.cycles++
	}
	if err := r.node.Stop(); err != nil {
		r.found.add(&r.found.Other, "%v", err)
		return nil
	}
	r.restartAndRead(ctx)
	return nil
}

// cycle puts load on the broker and strikes in the middle of it.
func (r *round) cycle(ctx context.Context) error {
	topic := cycleTopic(r.cycles)
	if err := r.createTopic(ctx, topic, cyclePartitions); err != nil {
		return err
	}
	leader, err := newProducer(uint64(1000+r.cycles), false, r.node.Bootstrap(), r.ledger, r.fork(),
		partition{leaderTopic, 0}, partition{leaderTopic, 1}, partition{topic, 0}, partition{topic, 1})
	if err != nil {
		return err
	}
	defer leader.client.Close()
	loadCtx, stopLoad := context.WithCancel(ctx)
	var load sync.WaitGroup
	defer load.Wait()
	defer stopLoad()
	before := r.ledger.ackedCount()
	for _, p := range append([]*producer{leader}, r.shared...) {
		load.Go(func() { p.run(loadCtx) })
	}
	for deadline := time.Now().Add(drainTime); r.ledger.ackedCount() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("nothing is acknowledged, so a strike can't show anything")
		}
	}
	if r.rng.IntN(4) > 0 { // else right into the making of the first segments
		time.Sleep(time.Duration(r.rng.IntN(800)) * time.Millisecond)
	}
	return r.strike(r)
}

func cycleTopic(cycle int) string { return fmt.Sprintf("cycle-%d", cycle) }

// restartAndRead starts the broker again, lets producers finish, reads everything, and deletes an old topic.
func (r *round) restartAndRead(ctx context.Context) {
	f := &r.found
	if err := r.start(ctx); err != nil {
		f.add(&f.Other, "no start after the strike: %v", err)
		return
	}
	for _, p := range r.shared {
		if err := p.drain(ctx, r.node.Exited()); err != nil {
			f.add(&f.Other, "%v", err)
			break // the others would wait for the same
		}
	}
	if err := r.ledger.check(ctx, r.node.Bootstrap(), f); err != nil {
		f.add(&f.Other, "%v", err)
	}
	select {
	case <-r.node.Exited():
		f.add(&f.Other, "the broker ended by itself; its last lines:\n%s", r.node.LogTail())
	default:
	}
	if old := r.cycles - 1; old >= 0 && f.wrong() == 0 {
		if err := r.deleteTopic(ctx, cycleTopic(old)); err != nil {
			f.add(&f.Other, "%v", err)
		}
	}
}

// admin calls fn with an admin client.
func (r *round) admin(ctx context.Context, fn func(ctx context.Context, admin *kadm.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(r.node.Bootstrap()))
	if err != nil {
		return err
	}
	defer client.Close()
	return fn(ctx, kadm.NewClient(client))
}

func (r *round) createTopic(ctx context.Context, topic string, partitions int32) error {
	err := r.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
		return err
	})
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	r.ledger.addTopic(topic, partitions)
	return nil
}

func (r *round) deleteTopic(ctx context.Context, topic string) error {
	r.ledger.dropTopic(topic)
	err := r.admin(ctx, func(ctx context.Context, admin *kadm.Client) error {
		_, err := admin.DeleteTopic(ctx, topic)
		return err
	})
	if err != nil {
		return fmt.Errorf("deleting topic %s: %w", topic, err)
	}
	return nil
}

// cutPower is the strike that only synced data survives: the journal is written out first or not, the process dies
// before or after.
func cutPower(r *round) error {
	how := uint32(cutAtOnce)
	if r.rng.IntN(3) == 0 {
		how = cutAfterJournal
	}
	if r.rng.IntN(2) == 0 {
		r.node.Kill()
	}
	if err := r.disk.cut(how); err != nil {
		return err
	}
	time.Sleep(time.Duration(r.rng.IntN(20)) * time.Millisecond) // acknowledgements that must not come
	r.node.Kill()
	if err := errors.Join(r.disk.unmount(), r.disk.mount()); err != nil {
		return err
	}
	if r.names == "" {
		return nil
	}
	_, err := takeBackNames(r.names)
	return err
}

// killProcess is the strike that everything written survives.
func killProcess(r *round) error {
	r.node.Kill()
	return nil
}
