import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.kafka.common.utils.Exit;
import org.slf4j.LoggerFactory;

/**
 * Runs main methods of Kafka's tools one after the other, since starting a JVM for each would take most of the time.
 *
 * <p>A request is a line of JSON on standard input, with class, args and stdin; the answer is one on standard output, with
 * exit, out and err: what a shell would have seen.
 */
public final class Tools {
    /** Thrown where a tool would end the JVM. */
    private static final class Exited extends Error {
        final int code;

        Exited(int code) {
            super("exit " + code, null, false, false);
            this.code = code;
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper();

    /** What the running tool wants to be run when the JVM ends. */
    private static final List<Runnable> HOOKS = new CopyOnWriteArrayList<>();

    /** The first exit code of the running tool, or null. Some tools catch everything, Exited too, and exit again. */
    private static volatile Integer exit;

    public static void main(String[] args) throws Exception {
        PrintStream answers = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        System.setOut(System.err); // where the logger, which looks now, is to write
        LoggerFactory.getLogger(Tools.class).debug("started");
        Exit.setExitProcedure((code, message) -> exited(code));
        Exit.setHaltProcedure((code, message) -> exited(code));
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            answers.println(JSON.writeValueAsString(run(JSON.readTree(line))));
        }
        System.exit(0); // some tools leave threads behind
    }

    private static void exited(int code) {
        if (exit == null) {
            exit = code;
        }
        throw new Exited(code);
    }

    private static Map<String, Object> run(JsonNode request) throws Exception {
        String[] args = JSON.convertValue(request.get("args"), String[].class);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        PrintStream oldErr = System.err;
        exit = null;
        HOOKS.clear();
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        System.setIn(new ByteArrayInputStream(request.get("stdin").asText().getBytes(StandardCharsets.UTF_8)));
        try {
            Class.forName(request.get("class").asText()).getMethod("main", String[].class).invoke(null, (Object) args);
        } catch (InvocationTargetException e) {
            if (!(e.getCause() instanceof Exited)) {
                e.getCause().printStackTrace(System.err);
                exit = exit == null ? Integer.valueOf(1) : exit;
            }
        } finally {
            HOOKS.forEach(Runnable::run);
            System.out.flush();
            System.err.flush();
            System.setOut(oldErr);
            System.setErr(oldErr);
        }
        return Map.of("exit", exit == null ? 0 : exit, "out", out.toString(StandardCharsets.UTF_8), "err", err.toString(StandardCharsets.UTF_8));
    }
}
