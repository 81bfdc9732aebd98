/* The program in the tests' trees: it says what it was given, then does what its first argument says. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static void told(int number)
{
    (void)number;
    _exit(42);
}

int main(int argc, char **argv)
{
    const char *given = getenv("_BATCHCTL_LAUNCHER"), *report = getenv("PROBE_REPORT");
    char open_ones[1024] = "";
    for (int fd = 0; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) != -1)
            snprintf(open_ones + strlen(open_ones), sizeof open_ones - strlen(open_ones), "fd %d\n", fd);
    if (report && !freopen(report, "a", stdout))
        return 98;
    mode_t mask = umask(0);
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    printf("pid %ld\nargc %d\n", (long)getpid(), argc);
    for (int i = 0; i < argc; i++)
        printf("arg %s\n", argv[i]);
    printf("given %s\numask %03o\n", given ? given : "(none)", (unsigned)mask);
    printf("usr1 %s %s\n", sigismember(&blocked, SIGUSR1) ? "blocked" : "open",
           signal(SIGUSR2, SIG_DFL) == SIG_IGN ? "ignored" : "default");
    fputs(open_ones, stdout);
    fflush(stdout);
    if (argc > 2 && strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    if (argc > 2 && strcmp(argv[1], "kill") == 0)
        raise(atoi(argv[2]));
    if (argc > 1 && strcmp(argv[1], "wait") == 0) {
        char byte;
        signal(SIGINT, told);
        printf("ready\n");
        fflush(stdout);
        while (read(0, &byte, 1) > 0)
            ;
    }
    return 0;
}
