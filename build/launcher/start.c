#define _GNU_SOURCE
#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char VARIABLE[] = "_BATCHCTL_LAUNCHER";

static bool is_variable(const char *text)
{
    return strncmp(text, VARIABLE, sizeof VARIABLE - 1) == 0 && text[sizeof VARIABLE - 1] == '=';
}

/* The environment with `ours` as the only value of the variable; an array to free, or NULL. */
static char **environment(char *ours)
{
    size_t count = 0;
    while (environ && environ[count])
        count++;
    char **made = calloc(count + 2, sizeof *made);
    if (!made)
        return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_variable(environ[i]))
            made[kept++] = environ[i];
    made[kept] = ours;
    return made;
}

static void explain(const char *program, bool *final, struct reason *why)
{
    struct stat found;
    if (errno == ENOENT && lstat(program, &found) != 0) {
        *final = false;
        because(why, "somebody removed the tree in it just now");
        return;
    }
    *final = errno == E2BIG || errno == ENOENT || errno == ENOEXEC;
    if (errno == E2BIG)
        because(why, "the command line and the environment are too long together");
    else if (errno == ENOENT) /* the file is there: it is its interpreter that the kernel misses */
        because(why, "this system lacks the loader of programs that are linked with glibc");
    else if (errno == ENOEXEC)
        because(why, "this system cannot run programs of this kind of processor");
    else
        because_errno(why, "the program in it cannot be started");
}

bool start(const char *tree, char **argv, int lock, const char *file, mode_t mask, bool *final, struct reason *why)
{
    char program[PATH_MAX + 16], *unnamed[] = {(char[]){"batchctl"}, NULL};
    *final = false;
    size_t length = sizeof VARIABLE + 16 + strlen(file);
    char *ours = malloc(length);
    char **given = ours ? environment(ours) : NULL;
    if (!given) {
        because_errno(why, "no memory to start the program");
        free(ours);
        return false;
    }
    snprintf(ours, length, "%s=%d %s", VARIABLE, lock, file);
    snprintf(program, sizeof program, "%s/batchctl", tree);
    if (lock >= 0 && fcntl(lock, F_SETFD, 0) != 0) {
        because_errno(why, "the lock cannot be handed on");
    } else {
        mode_t strict = umask(mask);
        (void)execve(program, argv[0] ? argv : unnamed, given);
        explain(program, final, why);
        (void)umask(strict);
    }
    free((void *)given);
    free(ours);
    return false;
}
