// Opens each file named in a list and reads its first 8 KiB: what any program that reads headers has to do at least.
// usage: first_bytes LIST
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int count, char **arguments) {
    static char path[8192], bytes[8192];
    FILE *list = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (!list) {
        perror("first_bytes: list");
        return 1;
    }
    long sum = 0;
    while (fgets(path, sizeof path, list)) {
        path[strcspn(path, "\n")] = 0;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file < 0 || read(file, bytes, sizeof bytes) < 0) {
            perror(path);
            return 1;
        }
        sum += bytes[0];
        close(file);
    }
    printf("%ld\n", sum);
    return 0;
}
