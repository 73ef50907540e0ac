import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Apache Kafka's Java client, with the command line that all client programs share (../README.md). */
public final class Client {
    private static final int PARTITIONS = 3;
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    public static void main(String[] args) {
        if (args.length < 3) {
            System.err.println("usage: Client produce|consume|admin BOOTSTRAP TASK...|TOPIC");
            System.exit(2);
        }
        boolean failed = false;
        for (String arg : List.of(args).subList(2, args.length)) {
            try {
                switch (args[0]) {
                    case "produce" -> produce(args[1], new Task(arg));
                    case "consume" -> consume(args[1], new Task(arg));
                    case "admin" -> admin(args[1], arg);
                    default -> throw new IllegalArgumentException("no such command: " + args[0]);
                }
                System.out.println("ok " + arg);
            } catch (Exception e) {
                failed = true;
                System.out.println("FAIL " + arg + " " + e);
            }
        }
        System.exit(failed ? 1 : 0);
    }

    private static void produce(String bootstrap, Task task) throws Exception {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("acks", "all");
        p.put("enable.idempotence", task.idempotent);
        p.put("compression.type", task.codec);
        p.put("linger.ms", 5);
        AtomicReference<Exception> failure = new AtomicReference<>();
        try (var producer = new KafkaProducer<>(p, new ByteArraySerializer(), new ByteArraySerializer())) {
            for (int n = 0; n < task.records; n++) {
                int i = n;
                producer.send(task.record(i), (metadata, e) -> {
                    if (e == null && metadata.offset() != i / PARTITIONS) {
                        e = new IllegalStateException("record " + i + " got offset " + metadata.offset());
                    }
                    if (e != null) {
                        failure.compareAndSet(null, e);
                    }
                });
            }
            producer.flush();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
    }

    private static void consume(String bootstrap, Task task) {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("auto.offset.reset", "none");
        List<TopicPartition> partitions = new ArrayList<>();
        for (int i = 0; i < PARTITIONS; i++) {
            partitions.add(new TopicPartition(task.topic, i));
        }
        long[] next = new long[PARTITIONS];
        long left = task.records;
        try (var consumer = new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            consumer.endOffsets(partitions).forEach((tp, end) -> {
                int count = (task.records - tp.partition() + PARTITIONS - 1) / PARTITIONS;
                expect(end == count, tp + " ends at offset " + end + ", want " + count);
            });
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (left > 0) {
                expect(System.nanoTime() < deadline, "nothing more in time: read up to offsets " + Arrays.toString(next));
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(200))) {
                    expect(r.offset() == next[r.partition()], "partition " + r.partition() + ": got offset " + r.offset()
                        + ", want " + next[r.partition()]);
                    next[r.partition()]++;
                    task.check(r);
                    left--;
                }
            }
        }
    }

    private static void admin(String bootstrap, String topic) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            admin.createTopics(List.of(new NewTopic(topic, PARTITIONS, (short) 1).configs(Map.of("retention.ms", "3600000"))))
                .all().get();
            await("topic", () -> admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size() == PARTITIONS);
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(PARTITIONS + 1))).all().get();
            await("partition", () -> {
                TopicDescription d = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
                return d.partitions().size() == PARTITIONS + 1 && d.partitions().get(PARTITIONS).leader() != null;
            });
            ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            admin.incrementalAlterConfigs(Map.of(resource,
                List.of(new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET)))).all().get();
            await("config", () -> {
                Config c = admin.describeConfigs(List.of(resource)).all().get().get(resource);
                return c.get("max.message.bytes").value().equals("2000000") && c.get("retention.ms").value().equals("3600000");
            });
            long end = admin.listOffsets(Map.of(new TopicPartition(topic, 0), OffsetSpec.latest())).all().get()
                .get(new TopicPartition(topic, 0)).offset();
            expect(end == 0, "a new topic ends at offset " + end);
            var node = admin.describeCluster().nodes().get().iterator().next();
            expect(!admin.describeLogDirs(List.of(node.id())).allDescriptions().get().isEmpty(), "no log directory is described");
            admin.describeProducers(List.of(new TopicPartition(topic, 0))).all().get();
            expect(admin.listTopics().names().get().contains(topic), "the new topic is not listed");
            admin.deleteTopics(List.of(topic)).all().get();
        }
    }

    private interface Condition {
        boolean holds() throws Exception;
    }

    /** Waits for what the cluster may take up after it has answered. */
    private static void await(String what, Condition condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
        while (true) {
            boolean holds = false;
            try {
                holds = condition.holds();
            } catch (ExecutionException e) {
                if (System.nanoTime() > deadline) {
                    throw e;
                }
            }
            if (holds) {
                return;
            }
            expect(System.nanoTime() < deadline, "the new " + what + " is not described");
            Thread.sleep(20);
        }
    }

    private static void expect(boolean holds, String message) {
        if (!holds) {
            throw new IllegalStateException(message);
        }
    }

    /** One topic to write or read, and its records (../go/record/record.go is the same in Go). */
    private static final class Task {
        private static final byte[] PATTERN = pattern();

        final String topic;
        final int records;
        final int seed;
        final boolean rich;
        final String codec;
        final boolean idempotent;

        Task(String spec) {
            String[] f = spec.split(":");
            expect(f.length == 6, "want TOPIC:RECORDS:SEED:SHAPE:CODEC:IDEMPOTENT");
            topic = f[0];
            records = Integer.parseInt(f[1]);
            seed = Integer.parseUnsignedInt(f[2]);
            rich = f[3].equals("rich");
            codec = f[4];
            idempotent = f[5].equals("true");
        }

        private static byte[] pattern() {
            byte[] p = new byte[64 << 10];
            int y = 12345;
            for (int i = 0; i < p.length; i++) {
                y = y * 1664525 + 1013904223;
                p[i] = (byte) ('a' + (y >>> 24) % 26);
            }
            return p;
        }

        private static byte[] text(String s) {
            return s.getBytes(StandardCharsets.UTF_8);
        }

        ProducerRecord<byte[], byte[]> record(int i) {
            int x = (i + 1) * 0x9E3779B1 + seed * 40503;
            x ^= x >>> 15;
            x *= 0x85EBCA77;
            x ^= x >>> 13;
            int length = i % 5000 == 4999 ? 50_000 : Integer.remainderUnsigned(x, 200);
            int from = (x >>> 8) % 1009;
            byte[] number = text(i + " ");
            byte[] value = Arrays.copyOf(number, number.length + length);
            System.arraycopy(PATTERN, from, value, number.length, length);
            if (i % 11 == 3) {
                value = null;
            }
            byte[] key = text("key-" + Integer.remainderUnsigned(x, 1000));
            List<Header> headers = List.of(new RecordHeader("client", text("kcat")), new RecordHeader("n", text("1")));
            Long millis = null;
            if (rich) {
                if (i % 7 == 2) {
                    key = null;
                } else if (i % 7 == 4) {
                    key = new byte[0];
                }
                headers = List.<Header>of(new RecordHeader("h0", text(Integer.toString(i))), new RecordHeader("h0", new byte[0]),
                    new RecordHeader("h2", (byte[]) null)).subList(0, i % 4);
                millis = 1_700_000_000_000L + Integer.remainderUnsigned(x, 1_000_000);
            }
            return new ProducerRecord<>(topic, i % PARTITIONS, millis, key, value, headers);
        }

        void check(ConsumerRecord<byte[], byte[]> got) {
            int i = (int) got.offset() * PARTITIONS + got.partition();
            var want = record(i);
            String where = "record " + i + " at offset " + got.offset() + " of partition " + got.partition() + ": ";
            expect(Arrays.equals(got.key(), want.key()), where + "wrong key");
            expect(Arrays.equals(got.value(), want.value()), where + "wrong value");
            expect(Arrays.equals(got.headers().toArray(), want.headers().toArray()), where + "headers " + got.headers() + ", want " + want.headers());
            if (want.timestamp() != null) {
                expect(got.timestamp() == want.timestamp(), where + "timestamp " + got.timestamp() + ", want " + want.timestamp());
            } else {
                long age = Math.abs(System.currentTimeMillis() - got.timestamp());
                expect(age < TimeUnit.HOURS.toMillis(1), where + "timestamp " + got.timestamp() + " is far from now");
            }
        }
    }
}
