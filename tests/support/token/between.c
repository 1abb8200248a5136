/* A module of PKCS#11 between a program and SoftHSM. The folder BETWEEN decides: each login adds to `logins` a 1, or a 0
   if it was refused, and each end of the module adds a 1 to `ends`; while there is a pipe `hang`, a signature waits for
   its writer; while there is a file `gone`, sessions fail as if the token had been pulled, and while there is one `away`,
   the module does not begin; while there is a file `last`, the token says that one more wrong PIN locks it; while there
   is a file `unclear`, a login fails without a word of why, and adds a ?. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

typedef unsigned long ulong_t;
/* CK_FUNCTION_LIST: a version and 68 functions, in the order of the specification. */
struct list { unsigned char version[2]; void *functions[68]; };
enum { INITIALIZE = 0, FINALIZE = 1, GET_TOKEN_INFO = 6, OPEN_SESSION = 12, LOGIN = 18, SIGN = 43 };
/* CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKF_USER_PIN_FINAL_TRY, and where the flags of CK_TOKEN_INFO are. */
enum { FAILED = 6, DEVICE_ERROR = 0x30, REMOVED = 0x32, FINAL_TRY = 0x20000, FLAGS = 96 };

static struct list real, own;

static const char *path(const char *name) {
    static char text[4096];
    snprintf(text, sizeof text, "%s/%s", getenv("BETWEEN"), name);
    return text;
}

static int there(const char *name) { return access(path(name), F_OK) == 0; }

static void note(const char *name, const char *what) {
    int file = open(path(name), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || write(file, what, 1) != 1) abort();
    close(file);
}

static ulong_t initialize(void *arguments) {
    if (there("away")) return DEVICE_ERROR;
    return ((ulong_t (*)(void *))real.functions[INITIALIZE])(arguments);
}

static ulong_t finalize(void *reserved) {
    note("ends", "1");
    return ((ulong_t (*)(void *))real.functions[FINALIZE])(reserved);
}

static ulong_t token_info(ulong_t slot, unsigned char *info) {
    ulong_t result = ((ulong_t (*)(ulong_t, unsigned char *))real.functions[GET_TOKEN_INFO])(slot, info);
    if (result == 0 && there("last")) *(ulong_t *)(info + FLAGS) |= FINAL_TRY;
    return result;
}

static ulong_t open_session(ulong_t slot, ulong_t flags, void *own_data, void *notify, ulong_t *session) {
    if (there("gone")) return REMOVED;
    return ((ulong_t (*)(ulong_t, ulong_t, void *, void *, ulong_t *))real.functions[OPEN_SESSION])(slot, flags, own_data, notify, session);
}

static ulong_t login(ulong_t session, ulong_t user, unsigned char *pin, ulong_t length) {
    if (there("unclear")) {
        note("logins", "?");
        return FAILED;
    }
    ulong_t result = ((ulong_t (*)(ulong_t, ulong_t, unsigned char *, ulong_t))real.functions[LOGIN])(session, user, pin, length);
    note("logins", result == 0 ? "1" : "0");
    return result;
}

static ulong_t sign(ulong_t session, unsigned char *data, ulong_t length, unsigned char *signature, ulong_t *signed_length) {
    char byte;
    int file;
    if (there("gone")) return REMOVED;
    if (there("hang") && (file = open(path("hang"), O_RDONLY)) >= 0) {
        while (read(file, &byte, 1) > 0) {}
        close(file);
    }
    return ((ulong_t (*)(ulong_t, unsigned char *, ulong_t, unsigned char *, ulong_t *))real.functions[SIGN])(session, data, length, signature, signed_length);
}

ulong_t C_GetFunctionList(struct list **list) {
    void *library = dlopen("libsofthsm2.so", RTLD_NOW);
    struct list *found;
    if (!library) library = dlopen("/usr/lib/softhsm/libsofthsm2.so", RTLD_NOW);
    if (!library) return 5;
    ulong_t result = ((ulong_t (*)(struct list **))dlsym(library, "C_GetFunctionList"))(&found);
    if (result != 0) return result;
    real = own = *found;
    own.functions[INITIALIZE] = (void *)initialize;
    own.functions[FINALIZE] = (void *)finalize;
    own.functions[GET_TOKEN_INFO] = (void *)token_info;
    own.functions[OPEN_SESSION] = (void *)open_session;
    own.functions[LOGIN] = (void *)login;
    own.functions[SIGN] = (void *)sign;
    *list = &own;
    return 0;
}
