#define _GNU_SOURCE
#include "privilege.h"

#include <linux/capability.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Capabilities beyond those that the caller had and passed on (ambient). */
static bool has_file_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}, {0, 0, 0}};
    if (syscall(SYS_capget, &header, data) != 0)
        return true; /* nobody can say: the careful answer */
    uint64_t permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
    for (unsigned long one = 0; one < 64; one++)
        if ((permitted >> one & 1) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, one, 0UL, 0UL) != 1)
            return true;
    return false;
}

bool privilege_was_raised(void)
{
    if (getauxval(AT_SECURE) == 0)
        return false;
    /* The flag alone is not enough: SELinux also sets it where it only changes the domain, as for services. */
    return getuid() != geteuid() || getgid() != getegid() || (geteuid() != 0 && has_file_capabilities());
}
