package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/kbroker/kbroker/controller"
	"github.com/kbroker/kbroker/handler"
	"github.com/kbroker/kbroker/internal/config"
	"github.com/kbroker/kbroker/internal/quota"
	"github.com/kbroker/kbroker/internal/security/acl"
	"github.com/kbroker/kbroker/internal/vfs"
	"github.com/kbroker/kbroker/log"
	"github.com/kbroker/kbroker/metadata"
	"github.com/kbroker/kbroker/replica"
	"github.com/kbroker/kbroker/wire"
)

// openDirs locks the data directories and reads whose they are. A node that is started for the first time makes its
// cluster's id here.
func (b *Broker) openDirs(context.Context) error {
	cfg := b.o.Config.Broker()
	b.clusterID = cfg.ClusterID
	for _, dir := range cfg.LogDirs {
		if meta, err := log.ReadMetaProperties(b.o.FS, dir); err == nil && b.clusterID == "" {
			b.clusterID = meta.ClusterID
		}
	}
	if b.clusterID == "" {
		b.clusterID = metadata.NewUUID().String()
	}
	var err error
	b.logs, err = log.Open(log.Options{
		FS: b.o.FS, Dirs: cfg.LogDirs, Logger: b.logger, ClusterID: b.clusterID, NodeID: cfg.NodeID,
		RecoveryWorkers: cfg.Log.RecoveryThreads, Codecs: b.codecs,
	})
	if err == nil {
		b.metadataDir, err = findMetadata(b.o.FS, b.logs.Dirs())
	}
	return err
}

// startController opens the metadata of this node's quorum and waits until it is shown.
func (b *Broker) startController(ctx context.Context) error {
	cfg := b.o.Config.Broker()
	dir := b.metadataDir
	c, err := controller.Open(controller.Config{
		FS: b.o.FS, DataDir: dir.Path(), DirectoryID: dir.ID(), NodeID: cfg.NodeID, ClusterID: b.clusterID,
		Features: features(), Rules: b.rules(), Metadata: &b.metadata, Logger: b.logger,
	})
	if err != nil {
		return err
	}
	b.controller = c
	b.quotas = quota.New(quota.Options{Samples: cfg.Quotas.Samples, Window: cfg.Quotas.Window,
		MutationSamples: cfg.Quotas.MutationSamples, MutationWindow: cfg.Quotas.MutationWindow})
	b.replicas = replica.NewManager(replica.Options{Self: cfg.NodeID, Logs: b.logs, Resolve: b.resolve, Logger: b.logger})
	b.makeGroups()
	c.Subscribe(b.follow)
	c.Start()
	return c.WaitReady(ctx)
}

// recover loads the logs that the metadata assigns to this node, then opens its partitions.
func (b *Broker) recover(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	go b.reportProgress(done)
	if err := b.logs.Load(ctx, b.known); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if failed := b.metadataDir.Err(); failed != nil {
			return failed // this node would stop at once: see Wait
		}
		// What can be served is served; the logs that can't were named already.
		b.logger.Error("not every log could be opened", "err", err)
	}
	b.applyMu.Lock()
	defer b.applyMu.Unlock()
	b.applied = b.metadata.Load()
	b.apply(&metadata.Image{}, b.applied)
	b.logs.SetCleaner(cleanerOptions(b.o.Config.Broker()))
	return nil
}

// progressInterval is how often a long recovery says how far it is.
const progressInterval = 2 * time.Second

// reportProgress keeps /readyz and the log up to date until done is closed.
func (b *Broker) reportProgress(done <-chan struct{}) {
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			p := b.logs.Progress()
			b.health.progress(p)
			b.logger.Info("recovering logs", "event", "recovery", "logs_done", p.LogsDone, "logs", p.Logs, "bytes_done", p.BytesDone, "bytes", p.Bytes)
		}
	}
}

// known says whether a log on disk belongs to this node, and with which settings.
func (b *Broker) known(tp log.TopicPartition, topicID [16]byte) (*log.Config, bool) {
	im := b.metadata.Load()
	t := im.Topic(tp.Topic)
	if t == nil || topicID != [16]byte{} && t.ID != topicID || int(tp.Partition) >= len(t.Partitions) {
		return nil, false
	}
	if !slices.Contains(t.Partitions[tp.Partition].Replicas, b.o.Config.Broker().NodeID) {
		return nil, false
	}
	_, c := b.resolve(tp.Topic, im.Config(metadata.ConfigResource{Type: topicResource, Name: tp.Topic}))
	return c, true
}

// features are the levels that a new cluster is finalized at.
func features() map[string]int16 {
	levels := map[string]int16{}
	for _, f := range handler.SupportedFeatures() {
		levels[f.Name] = f.Initial
	}
	return levels
}

// rules is what the controller has to know of the configuration.
func (b *Broker) rules() controller.Rules {
	cfg := b.o.Config.Broker()
	levels := map[string]controller.LevelRange{}
	for _, f := range handler.SupportedFeatures() {
		levels[f.Name] = controller.LevelRange{Min: f.Min, Max: f.Max}
	}
	return controller.Rules{
		Features:      levels,
		NumPartitions: cfg.Topics.Partitions, ReplicationFactor: cfg.Topics.ReplicationFactor,
		ValidateTopicConfig: b.o.Config.CheckTopic,
		ValidateConfig:      func(metadata.ConfigResource, map[string]string) error { return nil },
	}
}

// follow applies each metadata image, in order, on the controller's publishing goroutine. Before the logs are loaded
// there is nothing to apply to: recover starts with the image of its time.
func (b *Broker) follow(_, next *metadata.Image) {
	b.applyMu.Lock()
	defer b.applyMu.Unlock()
	if b.applied == nil {
		return
	}
	b.apply(b.applied, next)
	b.applied = next
}

func (b *Broker) apply(prev, next *metadata.Image) {
	b.reconfigure(prev, next)
	if !next.SameClientQuotas(prev) {
		b.quotas.Apply(next)
	}
	b.replicas.Apply(prev, next)
	if b.coordinating {
		b.groups.Apply(prev, next)
	}
}

// nodeName is this broker's name as a config resource.
func (b *Broker) nodeName() string { return strconv.Itoa(int(b.o.Config.Broker().NodeID)) }

// register makes this node's broker known, and unfences it.
func (b *Broker) register(ctx context.Context) error {
	cfg := b.o.Config.Broker()
	self := metadata.Broker{ID: cfg.NodeID, Incarnation: b.incarnation, Rack: cfg.Rack}
	for _, d := range b.logs.Dirs() {
		self.Directories = append(self.Directories, d.ID())
	}
	for i := range b.listeners {
		self.Listeners = append(self.Listeners, advertised(&b.listeners[i], cfg))
	}
	client := b.controller.Client()
	var err error
	if b.epoch, err = client.RegisterBroker(ctx, self); err != nil {
		return err
	}
	if _, err = client.Heartbeat(ctx, controller.Heartbeat{}); err != nil {
		return err
	}
	// Not sooner: the metadata still has this node lead in the epochs of its life before, and registering ends them. What
	// coordinators loaded in one of those they would have to load again.
	b.applyMu.Lock()
	defer b.applyMu.Unlock()
	b.coordinating = true
	b.groups.Apply(&metadata.Image{}, b.applied)
	return nil
}

// advertised is the endpoint of a listener as metadata shows it: advertised.listeners, or the bound address.
func advertised(l *boundListener, cfg *config.Broker) metadata.Listener {
	m := metadata.Listener{Name: l.Name, Host: l.Host, Port: l.Port, Protocol: metadata.SecurityProtocol(l.Protocol)}
	if t, ok := l.socket.Addr().(*net.TCPAddr); ok {
		m.Host, m.Port = t.IP.String(), int32(t.Port)
	}
	for _, e := range cfg.Advertised {
		if e.Name == l.Name {
			m.Host, m.Port = e.Host, e.Port
		}
	}
	return m
}

// serve starts answering on the client listeners.
func (b *Broker) serve(context.Context) error {
	b.limitData()
	b.service = handler.NewService(b.deps())
	b.applyMu.Lock()
	b.server = wire.NewServer(b.service, limits(b.o.Config.Broker()), b.logger)
	b.applyMu.Unlock()
	b.server.SetAdmission(b.quotas.Connect)
	for _, l := range b.listeners {
		b.server.Serve(l.socket, l.Name)
	}
	b.background.Add(2)
	go b.keepHighWatermarks()
	go b.keepRetention()
	return nil
}

// fetchSessionAge is Kafka's min.incremental.fetch.session.eviction.ms, a constant there too.
const fetchSessionAge = 2 * time.Minute

// limitData makes the data path obey the settings as they are now. They are kept ready: the data path asks with every
// request.
func (b *Broker) limitData() {
	c := b.o.Config.Broker()
	b.dataLimits.Store(&handler.Limits{
		FetchMaxBytes: c.Limits.FetchMaxBytes, FetchSessionSlots: c.Limits.FetchSessions, FetchSessionAge: fetchSessionAge,
		CommitTimeout: c.Groups.CommitTimeout,
	})
}

// deps is what handlers may touch.
func (b *Broker) deps() *handler.Deps {
	cfg := b.o.Config.Broker()
	return &handler.Deps{
		NodeID:     cfg.NodeID,
		Metadata:   &b.metadata,
		Authorizer: acl.AllowAll{},
		Controller: b.controller.Client(),
		Quotas:     b.quotas,
		Replicas:   b.replicas,
		Groups:     b.groups,
		Codecs:     b.codecs,
		Admin:      b.admin(),
		Config:     b.o.Config,
		Loggers:    b.o.Loggers,
		Features:   handler.SupportedFeatures(),
		Limits:     b.dataLimits.Load,
		Logger:     b.logger,
	}
}

// admin is what the handlers of metadata and topics need.
func (b *Broker) admin() handler.Admin {
	cfg := b.o.Config.Broker()
	return handler.Admin{
		Addresses: addresses(b.o.FS, cfg), AutoCreateTopics: cfg.Topics.AutoCreate, DeleteTopics: cfg.Topics.Delete,
		MaxDescribedPartitions: cfg.Limits.PartitionsPerResponse,
		TopicConfigs: func(_ string, overrides map[string]string) (entries []handler.TopicConfigEntry) {
			for _, e := range b.o.Config.TopicAtCreation(overrides) {
				entries = append(entries, handler.TopicConfigEntry{Name: e.Name, Value: e.Value, ReadOnly: e.ReadOnly, Source: int8(e.Source), Sensitive: e.Sensitive})
			}
			return entries
		},
		InternalTopic: b.internalTopic,
	}
}

// routeFile is where Linux shows its routing table.
const routeFile = "/proc/net/route"

// routeSize is more than a routing table of some hundred lines takes; the default route comes first.
const routeSize = 64 << 10

// addresses says how clients are told to find this node.
func addresses(fsys vfs.FS, cfg *config.Broker) handler.Addresses {
	a := handler.Addresses{Explicit: map[string]bool{}}
	for _, e := range cfg.Advertised {
		a.Explicit[e.Name] = true
	}
	if f, err := fsys.OpenFile(routeFile, os.O_RDONLY, 0); err == nil {
		route := make([]byte, routeSize)
		n, _ := f.ReadAt(route, 0) // a short file ends with io.EOF
		a.Gateway = handler.DefaultGateway(route[:n])
		f.Close()
	}
	return a
}

// closeLogs writes the high watermarks and closes the logs, with their marker of a clean shutdown. A start that did not
// get to serving partitions knows no high watermarks, and leaves those of the last run.
func (b *Broker) closeLogs() error {
	if b.applied == nil {
		return b.logs.Close(b.epoch)
	}
	return errors.Join(b.writeHighWatermarks(), b.logs.Close(b.epoch))
}
