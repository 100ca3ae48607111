/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/symbols.h"

#include "base/alloc.h"
#include "base/native.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { SYMBOLS_MAX = 4000000 };

struct function {
    uintptr_t at, size;
    const char *name; /* in the file */
};

/* A file that is loaded, once a question was about it. */
struct module {
    struct module *next;
    uintptr_t bias;   /* what to take from an address to have the file's */
    const char *file; /* the linker's */
    char *image;
    size_t size;
    struct function *functions; /* in order; NULL: the file tells nothing */
    size_t n;
};

struct fj__symbols {
    struct module *modules;
};

/* A fork waits for it: the dynamic linker's own locks are not given back in a child. */
static pthread_mutex_t naming = PTHREAD_MUTEX_INITIALIZER;

static void before_fork(void)
{
    (void)fj__native.pthread_mutex_lock(&naming);
}

static void after_fork(void)
{
    (void)fj__native.pthread_mutex_unlock(&naming);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

fj__symbols *fj__symbols_new(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, watch_forks);
    return fj__zalloc(sizeof(fj__symbols));
}

void fj__symbols_free(fj__symbols *s)
{
    while (s != NULL && s->modules != NULL) {
        struct module *m = s->modules;
        s->modules = m->next;
        fj__free(m->functions);
        if (m->image != NULL)
            (void)munmap(m->image, m->size);
        fj__free(m);
    }
    fj__free(s);
}

/* ---- reading a file ----------------------------------------------------------------------------- */

static void map(struct module *m)
{
    struct stat st;
    /* The program itself has no name there. */
    int fd = open(m->file[0] != '\0' ? m->file : "/proc/self/exe", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > 0) {
        void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        m->image = image != MAP_FAILED ? image : NULL;
        m->size = m->image != NULL ? (size_t)st.st_size : 0;
    }
    (void)fj__native.close(fd);
}

/* So many bytes of the file there, or NULL when it is not as long. */
static const void *part(const struct module *m, uint64_t at, uint64_t n)
{
    return at <= m->size && n <= m->size - at ? m->image + at : NULL;
}

static const ElfW(Shdr) * sections(const struct module *m, size_t *ret_n)
{
    const ElfW(Ehdr) *head = part(m, 0, sizeof *head);

    if (head == NULL || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
        return NULL;
    *ret_n = head->e_shnum;
    return part(m, head->e_shoff, (uint64_t)head->e_shnum * sizeof(ElfW(Shdr)));
}

static int in_order(const void *a, const void *b)
{
    const struct function *f = a, *g = b;

    return f->at < g->at ? -1 : f->at > g->at;
}

static void gather(struct module *m, const ElfW(Sym) * symbols, size_t n, const char *names, size_t names_n)
{
    m->functions = n <= SYMBOLS_MAX ? fj__alloc(n * sizeof m->functions[0] + 1) : NULL;
    for (size_t i = 0; m->functions != NULL && i < n; i++) {
        const ElfW(Sym) *s = &symbols[i];
        if (ELF64_ST_TYPE(s->st_info) != STT_FUNC || s->st_shndx == SHN_UNDEF || s->st_name >= names_n)
            continue;
        m->functions[m->n++] = (struct function){ s->st_value, s->st_size, names + s->st_name };
    }
    if (m->n > 1)
        qsort(m->functions, m->n, sizeof m->functions[0], in_order);
}

static void read_functions(struct module *m)
{
    size_t n = 0;
    const ElfW(Shdr) *all = m->image != NULL ? sections(m, &n) : NULL;

    for (size_t i = 0; all != NULL && i < n; i++) {
        if (all[i].sh_type != SHT_SYMTAB || all[i].sh_link >= n)
            continue;
        const ElfW(Shdr) *names = &all[all[i].sh_link];
        const ElfW(Sym) *symbols = part(m, all[i].sh_offset, all[i].sh_size);
        const char *text = part(m, names->sh_offset, names->sh_size);
        if (symbols != NULL && text != NULL && names->sh_size > 0 && text[names->sh_size - 1] == '\0')
            gather(m, symbols, all[i].sh_size / sizeof *symbols, text, names->sh_size);
        return;
    }
}

static const struct module *module_of(fj__symbols *s, const struct link_map *map_)
{
    for (struct module *m = s->modules; m != NULL; m = m->next) {
        if (m->bias == map_->l_addr && m->file == map_->l_name)
            return m;
    }
    struct module *m = fj__zalloc(sizeof *m);
    if (m == NULL)
        return NULL;
    m->bias = map_->l_addr;
    m->file = map_->l_name;
    map(m);
    read_functions(m);
    m->next = s->modules;
    s->modules = m;
    return m;
}

/* ---- asking ------------------------------------------------------------------------------------- */

/* The last one that begins at or before it, if it reaches as far.  Of several with the same beginning any will do. */
static const struct function *find(const struct module *m, uintptr_t at)
{
    size_t from = 0, to = m->n;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (m->functions[middle].at <= at)
            from = middle + 1;
        else
            to = middle;
    }
    for (size_t i = from; i > 0 && i + 4 > from; i--) { /* an alias of size 0 may stand behind it */
        const struct function *f = &m->functions[i - 1];
        if (at - f->at < f->size)
            return f;
    }
    return NULL;
}

/* A compiler's own words for a part or a variant of it, "run.part.0", are left out. */
static int plain(const char *known)
{
    return (int)(known[0] != '.' ? strcspn(known, ".") : strlen(known));
}

static void name(fj__symbols *s, void *address, bool returns, bool where, char *text, size_t size)
{
    Dl_info info = { 0 };
    struct link_map *map_ = NULL;
    uintptr_t at = (uintptr_t)address - (returns ? 1 : 0);

    if (dladdr1((void *)at, &info, (void **)&map_, RTLD_DL_LINKMAP) == 0 || map_ == NULL) {
        (void)snprintf(text, size, "%p", address);
        return;
    }
    const struct module *m = s != NULL ? module_of(s, map_) : NULL;
    const struct function *f = m != NULL ? find(m, at - map_->l_addr) : NULL;
    const char *slash = info.dli_fname != NULL ? strrchr(info.dli_fname, '/') : NULL;
    const char *module = slash != NULL ? slash + 1 : info.dli_fname != NULL ? info.dli_fname : "?";
    const char *known = f != NULL ? f->name : info.dli_sname;
    uintptr_t begin = f != NULL ? f->at + map_->l_addr : (uintptr_t)info.dli_saddr;
    uintptr_t offset = (uintptr_t)address - map_->l_addr;

    if (known == NULL)
        (void)snprintf(text, size, where ? "[%s+0x%zx]" : "%s+0x%zx", module, (size_t)offset);
    else if (where)
        (void)snprintf(text, size, "%.*s+0x%zx [%s+0x%zx]", plain(known), known,
                       (size_t)((uintptr_t)address - begin), module, (size_t)offset);
    else
        (void)snprintf(text, size, "%.*s", plain(known), known);
}

void fj__symbols_text(fj__symbols *s, void *address, bool returns, bool where, char *text, size_t size)
{
    (void)fj__native.pthread_mutex_lock(&naming);
    name(s, address, returns, where, text, size);
    (void)fj__native.pthread_mutex_unlock(&naming);
}
