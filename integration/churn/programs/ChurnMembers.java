import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Members of a consumer group with Apache Kafka's client, one thread each; ../README.md says what is read and written. */
public final class ChurnMembers {
    private static final PrintStream OUT = System.out;

    public static void main(String[] args) throws Exception {
        System.setOut(System.err); // the client's log goes there
        Map<String, Member> members = new HashMap<>();
        var in = new BufferedReader(new InputStreamReader(System.in));
        for (String line; (line = in.readLine()) != null; ) {
            String[] f = line.split(" ");
            if (f[0].equals("join")) {
                Member m = new Member(args[0], args[1], f[1], f[2]);
                members.put(f[1], m);
                m.start();
            } else {
                members.get(f[1]).leaving = true;
            }
        }
        for (Member m : members.values()) {
            m.leaving = true;
        }
        for (Member m : members.values()) {
            m.join();
        }
    }

    /** One member: all of it happens on its own thread, but for being told to leave. */
    private static final class Member extends Thread implements ConsumerRebalanceListener {
        private final String bootstrap;
        private final String group;
        private final String protocol;
        private final Map<TopicPartition, OffsetAndMetadata> pending = new HashMap<>();
        private KafkaConsumer<byte[], byte[]> consumer;
        volatile boolean leaving;

        Member(String bootstrap, String group, String name, String protocol) {
            super(name);
            this.bootstrap = bootstrap;
            this.group = group;
            this.protocol = protocol;
        }

        @Override
        public void run() {
            try {
                try (var c = new KafkaConsumer<>(settings(), new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
                    consumer = c;
                    consumer.subscribe(List.of(group), this);
                    while (!leaving) {
                        poll();
                        commit(Map.copyOf(pending));
                    }
                }
                say("left", now(), "");
            } catch (Exception e) {
                say("failed", now(), e.toString());
            }
        }

        private Properties settings() {
            Properties p = new Properties();
            p.put("bootstrap.servers", bootstrap);
            p.put("group.id", group);
            p.put("group.protocol", protocol);
            p.put("client.id", getName());
            p.put("enable.auto.commit", false);
            p.put("auto.offset.reset", "earliest");
            p.put("fetch.max.wait.ms", 100);
            if (protocol.equals("classic")) {
                p.put("session.timeout.ms", 6000);
                p.put("heartbeat.interval.ms", 500);
                p.put("partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor");
            }
            return p;
        }

        private void poll() {
            var records = consumer.poll(Duration.ofMillis(100));
            for (TopicPartition tp : records.partitions()) {
                List<ConsumerRecord<byte[], byte[]>> some = records.records(tp);
                long first = some.get(0).offset();
                long last = first;
                for (ConsumerRecord<byte[], byte[]> r : some.subList(1, some.size())) {
                    if (r.offset() != last + 1) {
                        say("got", now(), tp.partition() + " " + first + " " + last);
                        first = r.offset();
                    }
                    last = r.offset();
                }
                say("got", now(), tp.partition() + " " + first + " " + last);
                pending.put(tp, new OffsetAndMetadata(last + 1));
            }
        }

        /** Commits; what is refused stays pending until its partition goes. */
        private void commit(Map<TopicPartition, OffsetAndMetadata> offsets) {
            if (offsets.isEmpty()) {
                return;
            }
            long sent = now();
            try {
                consumer.commitSync(offsets);
            } catch (KafkaException e) {
                say("refused", now(), e.toString().replace('\n', ' '));
                return;
            }
            long acked = now();
            offsets.forEach((tp, o) -> {
                say("committed", sent, tp.partition() + " " + o.offset() + " " + acked);
                pending.remove(tp);
            });
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            say("assigned", now(), numbers(partitions));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
            var mine = new HashMap<>(pending);
            mine.keySet().retainAll(partitions);
            commit(mine);
            forget("revoked", partitions);
        }

        @Override
        public void onPartitionsLost(Collection<TopicPartition> partitions) {
            forget("lost", partitions);
        }

        private void forget(String word, Collection<TopicPartition> partitions) {
            pending.keySet().removeAll(new ArrayList<>(partitions));
            say(word, now(), numbers(partitions));
        }

        private void say(String word, long at, String more) {
            OUT.println((getName() + " " + word + " " + at + " " + more).trim());
        }

        private static String numbers(Collection<TopicPartition> partitions) {
            return partitions.stream().map(tp -> String.valueOf(tp.partition())).collect(Collectors.joining(" "));
        }

        /** Nanoseconds since 1970, comparable with those of the other processes. */
        private static long now() {
            Instant i = Instant.now();
            return TimeUnit.SECONDS.toNanos(i.getEpochSecond()) + i.getNano();
        }
    }
}
