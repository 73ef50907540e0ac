import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Apache Kafka's Java client in a consumer group (../../README.md says what a member and groups do). */
public final class GroupClient {
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    private final String bootstrap;
    private final String topic;
    private final int partitions;
    private final String group;
    private final String protocol;
    private final long deadline = System.nanoTime() + PATIENCE.toNanos();

    private GroupClient(String bootstrap, String spec) {
        String[] f = spec.split(":");
        this.bootstrap = bootstrap;
        topic = f[0];
        partitions = Integer.parseInt(f[1]);
        group = f[2];
        protocol = f[3];
    }

    public static void main(String[] args) {
        if (args.length != 3) {
            System.err.println("usage: GroupClient member|groups BOOTSTRAP TOPIC:PARTITIONS:GROUP:PROTOCOL");
            System.exit(2);
        }
        int status = 0;
        try {
            GroupClient client = new GroupClient(args[1], args[2]);
            if (args[0].equals("member")) {
                client.member();
            } else {
                client.groups();
            }
            System.out.println("ok " + args[2]);
        } catch (Exception e) {
            status = 1;
            System.out.println("FAIL " + args[2] + " " + e);
        }
        System.exit(status);
    }

    private KafkaConsumer<byte[], byte[]> consumer() {
        Properties p = new Properties();
        p.put("bootstrap.servers", bootstrap);
        p.put("group.id", group);
        p.put("group.protocol", protocol);
        p.put("enable.auto.commit", false);
        p.put("auto.offset.reset", "earliest");
        p.put("max.poll.records", 50);
        if (protocol.equals("classic")) {
            p.put("session.timeout.ms", 6000);
            p.put("heartbeat.interval.ms", 300);
        }
        return new KafkaConsumer<>(p, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private void member() {
        AtomicBoolean left = new AtomicBoolean();
        Thread input = new Thread(() -> {
            try {
                System.in.readAllBytes();
            } catch (java.io.IOException e) {
                // The input is gone: the same as its end.
            }
            left.set(true);
        });
        input.setDaemon(true);
        input.start();
        try (var consumer = consumer()) {
            consumer.subscribe(List.of(topic));
            while (!left.get()) {
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
                for (ConsumerRecord<byte[], byte[]> r : consumer.poll(Duration.ofMillis(100))) {
                    System.out.println("got " + r.partition() + " " + r.offset());
                    next.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
                }
                if (!next.isEmpty()) {
                    consumer.commitSync(next);
                    next.forEach((tp, o) -> System.out.println("committed " + tp.partition() + " " + o.offset()));
                }
            }
        }
    }

    private void groups() throws Exception {
        TopicPartition first = new TopicPartition(topic, 0);
        try (var consumer = consumer()) {
            consumer.subscribe(List.of(topic));
            while (consumer.assignment().isEmpty()) {
                inTime("assignment");
                consumer.poll(Duration.ofMillis(100));
            }
            consumer.seek(first, 10);
            List<ConsumerRecord<byte[], byte[]>> found = List.of();
            while (found.isEmpty()) {
                inTime("record that was sought");
                found = consumer.poll(Duration.ofMillis(100)).records(first);
            }
            expect(found.get(0).offset() == 10, "sought offset 10 and got " + found.get(0).offset());
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            expect(listed(admin), "the group is not listed");
            var described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            expect(described.groupState() == GroupState.EMPTY, "the group is " + described.groupState());
            var offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            expect(offsets.size() == partitions, "offsets " + offsets);
            admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(5))).all().get();
            long altered = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(first).offset();
            expect(altered == 5, "the altered offset is " + altered);
            admin.deleteConsumerGroupOffsets(group, java.util.Set.of(first)).all().get();
            offsets = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            expect(offsets.get(first) == null, "the deleted offset is " + offsets.get(first));
            admin.deleteConsumerGroups(List.of(group)).all().get();
            expect(!listed(admin), "the deleted group is listed");
        }
    }

    private boolean listed(Admin admin) throws Exception {
        return admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group));
    }

    private void inTime(String what) {
        expect(System.nanoTime() < deadline, "no " + what + " in time");
    }

    private static void expect(boolean holds, String message) {
        if (!holds) {
            throw new IllegalStateException(message);
        }
    }
}
