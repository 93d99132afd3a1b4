import koffi from 'koffi';

// One table of what we take from libc. Numbers are those of the generic Linux ABI (x86-64, arm64).
const library = koffi.load(null);

export const libc = {
  getpagesize: library.func('int getpagesize()') as () => number,
  close: library.func('int close(int fd)') as (fd: number) => number,
  fcntl: library.func('int fcntl(int fd, int command, long argument)') as (
    fd: number,
    command: number,
    argument: number,
  ) => number,
  flock: library.func('int flock(int fd, int operation)') as (fd: number, op: number) => number,
  ioctl: library.func('int ioctl(int fd, unsigned long request, void *argument)') as (
    fd: number,
    request: number,
    argument: Uint8Array | null,
  ) => number,
  mmap: library.func(
    'uintptr_t mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
  ) as (
    address: null,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => number | bigint,
  munmap: library.func('int munmap(uintptr_t address, size_t length)') as (
    address: number | bigint,
    length: number,
  ) => number,
  syscall5: library.func('long syscall(long number, long a, void *b, long c, long d, long e)') as (
    number: number,
    a: number,
    b: Uint8Array | null,
    c: number,
    d: number,
    e: number,
  ) => number,
  setns: library.func('int setns(int fd, int type)') as (fd: number, type: number) => number,
  unshare: library.func('int unshare(int flags)') as (flags: number) => number,
  mount: library.func(
    'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
  ) as (
    source: string | null,
    target: string,
    type: string | null,
    flags: number,
    data: string | null,
  ) => number,
  umount2: library.func('int umount2(const char *target, int flags)') as (
    target: string,
    flags: number,
  ) => number,
  statfs: library.func('int statfs(const char *path, void *buffer)') as (
    path: string,
    buffer: Uint8Array,
  ) => number,
  socket: library.func('int socket(int domain, int type, int protocol)') as (
    domain: number,
    type: number,
    protocol: number,
  ) => number,
  bind: library.func('int bind(int fd, const void *address, uint32_t length)') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  connect: library.func('int connect(int fd, const void *address, uint32_t length)') as (
    fd: number,
    address: Uint8Array,
    length: number,
  ) => number,
  listen: library.func('int listen(int fd, int backlog)') as (
    fd: number,
    backlog: number,
  ) => number,
  send: library.func('long send(int fd, const void *data, size_t length, int flags)') as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  recv: library.func('long recv(int fd, void *data, size_t length, int flags)') as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
  ) => number,
  getsockname: library.func('int getsockname(int fd, void *address, void *length)') as (
    fd: number,
    address: Uint8Array,
    length: Uint32Array,
  ) => number,
  getsockopt: library.func(
    'int getsockopt(int fd, int level, int name, void *value, void *length)',
  ) as (fd: number, level: number, name: number, value: Uint8Array, length: Uint32Array) => number,
  setsockopt: library.func(
    'int setsockopt(int fd, int level, int name, const void *value, uint32_t length)',
  ) as (fd: number, level: number, name: number, value: Uint8Array, length: number) => number,
  sendto: library.func(
    'long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t size)',
  ) as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    size: number,
  ) => number,
  recvfrom: library.func(
    'long recvfrom(int fd, void *data, size_t length, int flags, void *address, void *size)',
  ) as (
    fd: number,
    data: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    size: Uint32Array,
  ) => number,
  recvmmsg: library.func(
    'int recvmmsg(int fd, void *messages, uint32_t count, int flags, void *timeout)',
  ) as (fd: number, messages: Uint8Array, count: number, flags: number, timeout: null) => number,
  ppoll: library.func('int ppoll(void *fds, unsigned long count, void *timeout, void *mask)') as (
    fds: Uint8Array,
    count: number,
    timeout: Uint8Array | null,
    mask: null,
  ) => number,
  eventfd: library.func('int eventfd(uint32_t value, int flags)') as (
    value: number,
    flags: number,
  ) => number,
  read: library.func('long read(int fd, void *data, size_t length)') as (
    fd: number,
    data: Uint8Array,
    length: number,
  ) => number,
  write: library.func('long write(int fd, const void *data, size_t length)') as (
    fd: number,
    data: Uint8Array,
    length: number,
  ) => number,
  ifNameToIndex: library.func('uint32_t if_nametoindex(const char *name)') as (
    name: string,
  ) => number,
  schedSetscheduler: library.func(
    'int sched_setscheduler(int thread, int policy, const void *parameter)',
  ) as (thread: number, policy: number, parameter: Uint8Array) => number,
  setpriority: library.func('int setpriority(int which, uint32_t who, int priority)') as (
    which: number,
    who: number,
    priority: number,
  ) => number,
  vsnprintf: library.func(
    'int vsnprintf(void *buffer, size_t size, uintptr_t format, uintptr_t arguments)',
  ) as (
    buffer: Uint8Array | null,
    size: number,
    format: bigint | number,
    arguments_: bigint | number,
  ) => number,
};

/** errno of the last call; read it before any other call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** The bpf(2) system call's number, which differs by architecture. */
export const bpfSystemCall = process.arch === 'x64' ? 321 : 280;
