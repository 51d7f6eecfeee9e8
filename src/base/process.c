#include "base/process.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

int64_t process_memory(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (int64_t)usage.ru_maxrss * 1024;
}

/* The number behind "key:" in a file of lines such as "RssAnon:  1234 kB", in bytes; -1 where it is not there. */
static int64_t read_kilobytes(const char *path, const char *key)
{
    char line[256];
    long long kilobytes = -1;
    const size_t length = strlen(key);
    FILE *f = fopen(path, "re");
    while (f && kilobytes < 0 && fgets(line, sizeof line, f))
        if (!strncmp(line, key, length) && line[length] == ':') sscanf(line + length + 1, "%lld", &kilobytes);
    if (f) fclose(f);
    return kilobytes < 0 ? -1 : kilobytes * 1024;
}

int64_t process_own_memory(void)
{
    const int64_t bytes = read_kilobytes("/proc/self/status", "RssAnon");
    return bytes > 0 ? bytes : 0;
}

int64_t process_available_memory(void)
{
    return read_kilobytes("/proc/meminfo", "MemAvailable");
}

size_t process_page_bytes(bool huge)
{
    char line[128] = "";
    unsigned long bytes = 0;
    FILE *f = huge ? fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re") : NULL;
    const bool given = f && fgets(line, sizeof line, f) && !strstr(line, "[never]");
    if (f) fclose(f);
    f = given ? fopen("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "re") : NULL;
    if (f && fscanf(f, "%lu", &bytes) != 1) bytes = 0;
    if (f) fclose(f);
    return bytes ? bytes : (size_t)sysconf(_SC_PAGESIZE);
}

size_t process_untouched(const void *at, size_t bytes)
{
    enum { TOGETHER = 4096 };
    unsigned char in_memory[TOGETHER];
    const size_t page = process_page_bytes(false), pages = (bytes + page - 1) / page;
    size_t untouched = 0;
    for (size_t first = 0; first < pages; first += TOGETHER) {
        const size_t n = pages - first < TOGETHER ? pages - first : TOGETHER;
        if (mincore((char *)at + first * page, n * page, in_memory) != 0) return untouched;
        for (size_t i = 0; i < n; i++) untouched += in_memory[i] & 1 ? 0 : page;
    }
    return untouched;
}
