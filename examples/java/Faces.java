import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.regex.Pattern;

/**
 * Prints the faces in a picture, over HTTP: java Faces.java PICTURE [URL]
 *
 * <p>Needs Java 11 and nothing besides. A face is a line: left, top, right and bottom of its box, and its
 * confidence.
 */
public class Faces {
    /** Seconds that a service which cannot answer now is waited for. */
    private static final long LONGEST_WAIT = 5;

    // Java itself reads no JSON. These find what is printed here; use a library for more than that.
    private static final String POINT = "\\{\"x\":([^,]+),\"y\":([^}]+)\\}";
    private static final Pattern FACE =
            Pattern.compile("\"box\":\\{\"upLeft\":" + POINT + ",\"lowerRight\":" + POINT + "\\}.*?\"confidence\":([^,}]+)");
    private static final Pattern PROBLEM = Pattern.compile("\"(reason|detail)\":\"((?:[^\"\\\\]|\\\\.)*)\"");

    private static final HttpClient CLIENT =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();

    public static void main(String[] arguments) throws InterruptedException {
        String url = arguments.length > 1 ? arguments[1] : "http://127.0.0.1:8000";
        try {
            var response = post(Path.of(arguments[0]), url);
            // It is there where trying again may help.
            long wait = response.headers().firstValueAsLong("Retry-After").orElse(Long.MAX_VALUE);
            if (wait <= LONGEST_WAIT) {
                Thread.sleep(wait * 1000);
                response = post(Path.of(arguments[0]), url);
            }
            System.exit(print(response));
        } catch (IOException error) { // no such file, nobody there, or no answer in time
            System.err.println(error);
            System.exit(1);
        }
    }

    /** One request; options of the detection are parameters of the query. */
    private static HttpResponse<String> post(Path picture, String url) throws IOException, InterruptedException {
        var request = HttpRequest.newBuilder(URI.create(url + "/predict?min_face_size=20"))
                .header("Content-Type", "application/octet-stream")
                .header("X-Request-Timeout", "20") // seconds that the service may take
                .timeout(Duration.ofSeconds(30)) // that the network may take, too
                .POST(BodyPublishers.ofFile(picture))
                .build();
        return CLIENT.send(request, BodyHandlers.ofString());
    }

    /** Prints the faces, or what the service says where it refuses; gives the exit status. */
    private static int print(HttpResponse<String> response) {
        boolean found = response.statusCode() == 200;
        var matcher = (found ? FACE : PROBLEM).matcher(response.body());
        while (matcher.find()) {
            if (found) {
                System.out.printf("%s %s %s %s %s%n", matcher.group(1), matcher.group(2), matcher.group(3),
                        matcher.group(4), matcher.group(5));
            } else {
                System.err.println(matcher.group(1) + ": " + matcher.group(2));
            }
        }
        return found ? 0 : 1;
    }
}
