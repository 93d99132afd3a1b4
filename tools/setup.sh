#!/bin/sh
# Makes a fresh Debian 12 ready: Debian packages, npm packages (Node 26 among them), eBPF objects.
# Every step first looks whether it is needed, so a second run takes a moment. Runs under plain sh and
# under any Node, since it comes before Node 26 is there.
set -eu
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# What the programs and tests call, by Debian package.
packages="clang llvm libbpf-dev libbpf1 libc6-dev linux-libc-dev iproute2 iputils-ping ethtool procps util-linux
  etcd-server etcd-client containerd runc podman crun conmon containernetworking-plugins busybox-static
  socat tshark iperf3 qperf nginx-light apache2-utils iptables nftables
  bird2 frr gobgpd exabgp openbgpd pmacct
  python3-keystone python3-neutron python3-nova rabbitmq-server"

missing=""
for package in $packages; do
  case "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" in
    *"install ok installed") ;;
    *) missing="$missing $package" ;;
  esac
done
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || fail "these Debian packages are missing; run as root or install them:$missing"
  say "installing Debian packages:$missing"
  log=$(mktemp)
  # Debian starts no service of what is installed here: the tests start their own.
  policy=/usr/sbin/policy-rc.d
  made_policy=no
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made_policy=yes
  fi
  status=0
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$log" 2>&1 || status=$?
  [ "$made_policy" = yes ] && rm -f "$policy"
  if [ "$status" != 0 ]; then
    # The addresses of package hosts are nobody's business in a build log.
    sed -E 's#[a-z]+://[^ ]+#(address)#g' "$log" | head -n 30 >&2
    rm -f "$log"
    fail "apt-get failed (exit $status); what it said stands above"
  fi
  rm -f "$log"
fi

stamp=node_modules/.causeway-lock
if ! cmp -s package-lock.json "$stamp" 2>/dev/null; then
  say "installing npm packages (Node 26 among them)"
  log=$(mktemp)
  if ! npm ci --no-audit --no-fund --loglevel=error >"$log" 2>&1; then
    sed -E 's#[a-z]+://[^ ]+#(address)#g' "$log" | head -n 30 >&2
    rm -f "$log"
    fail "npm ci failed; what it said stands above"
  fi
  rm -f "$log"
  cp package-lock.json "$stamp"
fi
version=$(node_modules/.bin/node --version 2>/dev/null) || fail "Node 26 is not in node_modules/.bin; remove node_modules and run again"
case "$version" in
  v26.*) ;;
  *) fail "node_modules/.bin/node is $version, wanted v26; remove node_modules and run again" ;;
esac

sh packages/datapath/bpf/build.sh

if [ "$(id -u)" = 0 ] && ! grep -q ' /sys/fs/bpf bpf ' /proc/mounts; then
  say "mounting the BPF file system at /sys/fs/bpf"
  mount -t bpf bpf /sys/fs/bpf
fi
