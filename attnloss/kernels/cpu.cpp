// What this CPU can run, and what the library was built of. Compiled for the plainest CPU, as it decides whether the
// rest may be called.
#define EXPORTED __attribute__((visibility("default")))

extern "C" {
EXPORTED int cpu_runs(int variant) {
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return variant == 0 ? avx2 : avx2 && avx512;
}

EXPORTED const char* source_digest() { return DIGEST; }
}
