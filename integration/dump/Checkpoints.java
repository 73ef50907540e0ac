import java.io.File;
import java.util.List;
import org.apache.kafka.metadata.properties.MetaPropertiesEnsemble;
import org.apache.kafka.storage.internals.checkpoint.LeaderEpochCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.OffsetCheckpointFile;
import org.apache.kafka.storage.internals.checkpoint.PartitionMetadataFile;
import org.apache.kafka.storage.internals.log.LogDirFailureChannel;

/** Reads the small text files of a data directory with Kafka's classes and prints what they hold, one fact a line. */
public final class Checkpoints {
    public static void main(String[] args) throws Exception {
        File data = new File(args[0]);
        LogDirFailureChannel failures = new LogDirFailureChannel(1);
        var meta = new MetaPropertiesEnsemble.Loader().addLogDirs(List.of(data.getPath())).load();
        meta.verify(java.util.Optional.empty(), java.util.OptionalInt.empty(), java.util.EnumSet.noneOf(MetaPropertiesEnsemble.VerificationFlag.class));
        System.out.println("meta.properties cluster " + meta.clusterId().orElseThrow() + " node " + meta.nodeId().orElseThrow());
        for (String name : List.of("recovery-point-offset-checkpoint", "replication-offset-checkpoint", "log-start-offset-checkpoint")) {
            File file = new File(data, name);
            if (file.exists()) {
                new OffsetCheckpointFile(file, failures).read().forEach((tp, offset) ->
                    System.out.println(name + " " + tp + " " + offset));
            }
        }
        for (File dir : data.listFiles()) {
            if (PartitionMetadataFile.newFile(dir).exists()) {
                var metadata = new PartitionMetadataFile(PartitionMetadataFile.newFile(dir), failures).read();
                System.out.println("partition.metadata " + dir.getName() + " " + metadata.topicId());
                new LeaderEpochCheckpointFile(LeaderEpochCheckpointFile.newFile(dir), failures).read().forEach(e ->
                    System.out.println("leader-epoch-checkpoint " + dir.getName() + " epoch " + e.epoch() + " from " + e.startOffset()));
            }
        }
    }
}
