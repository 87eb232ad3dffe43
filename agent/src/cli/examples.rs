//! Examples in the help of commands, which `weir COMMAND --help`, the manual pages and docs/cli.md show.

pub(super) const WEIR: &str = "\
Examples:
  weir check                     is the configuration right, and what is in its lists?
  weir run                       load, attach, enforce
  weir status                    what is attached, enforced and counted
  weir explain 198.51.100.7      what becomes of an address, why, and what would change it
  weir top                       what goes on now
  weir ban 203.0.113.0/24        drop, for an hour

Exit codes:
  0   done
  1   failed: refused by the agent, no agent, nothing loaded (`weir status` says that with 0), a list that
      cannot be had
  2   only if asked for: `weir policy diff --exit-code` has found a difference
  64  wrong usage, or an invalid configuration: nothing was changed";

pub(super) const RUN: &str = "\
Examples:
  weir run
  weir run --config ./weir.yaml --log-json
  kill -HUP $(pidof weir)        reread the configuration; one that is not valid is refused

WEIR_LOG sets what is logged: error, warn, info (the default) or debug.";

pub(super) const CHECK: &str = "\
Examples:
  weir check                     with the lists: how many entries, whom they would hit
  weir check --no-lists          the file alone, in no time
  weir check --config new.yaml -o json";

pub(super) const STATUS: &str = "\
Examples:
  weir status
  weir status -o json | jq '.packets[] | select(.verdict == \"drop\")'";

pub(super) const EXPLAIN: &str = "\
Examples:
  weir explain 198.51.100.7
  weir explain 2001:db8::7 --port 443/tcp     with the limits of that port alone
  weir explain 198.51.100.0/24                what its addresses get, and what meets it
  weir explain 198.51.100.7 -o json | jq .changes

Tells the verdict on a packet from there and why, the rule, lists and limits that decide, since when and
until when as far as that is known, and what would change it. Works without an agent; one that runs is asked
for the risk of the source and for sampled packets besides.";

pub(super) const TOP: &str = "\
Examples:
  weir top
  weir top --delay 5s
  weir top --once -o json | jq '.sources[:3]'

Keys: q quit, ? help, Tab next section, s sort, r reverse, / filter, b ban, e explain, p pause.
Without an agent there are no sources; all else comes from the kernel's counters.";

pub(super) const EVENTS: &str = "\
Examples:
  weir events --limit 20
  weir events --follow --reason feed
  weir events -f --source 203.0.113.0/24 -o json | jq .destination_port

Packets against which a rule spoke, and those in the soft band of a limit: a sample. The kernel tells of some
each second (`events.per_second`), and of 1000 and more per CPU while somebody follows.";

pub(super) const LIMITS: &str = "\
Examples:
  weir limits
  weir limits --top 50 -o json | jq '.debtors[] | select(.over)'

Debtors are read from the buckets of the kernel. IPv4 sources are known by name; of IPv6 sources the table
has hashes, so they are counted.";

pub(super) const BAN: &str = "\
Examples:
  weir ban 203.0.113.7
  weir ban 203.0.113.0/24 2001:db8:7::/48 --for 7d --note scraper
  weir ban 203.0.113.7 --shadow               count what it would drop
  weir ban 203.0.113.7 --proxy-only           a client behind a CDN";

pub(super) const UNBAN: &str = "\
Examples:
  weir unban 203.0.113.7
  weir unban 203.0.113.0/24 2001:db8:7::/48   as they were banned";

pub(super) const BANS: &str = "\
Examples:
  weir bans
  weir bans -o json | jq -r '.rules[] | select(.by == \"escalation\") | .prefix'";

pub(super) const ALLOW: &str = "\
Examples:
  weir allow 203.0.113.7 --note 'a customer, ticket 4711'
  weir allow 203.0.113.0/24 --for forever";

pub(super) const THROTTLE: &str = "\
Examples:
  weir throttle 203.0.113.7 --for 1d";

pub(super) const FEEDS: &str = "\
Examples:
  weir feeds list
  weir feeds accept bad          put a list in force that was held back
  weir feeds refresh bad         read it now
  weir feeds overlap             whom would the lists hit?
  weir feeds catalogue";

pub(super) const L7: &str = "\
Examples:
  weir l7 test cases.yaml -c weir.yaml            do requests get what they should?";

pub(super) const UNLOAD: &str = "\
Examples:
  weir unload                    from here on everything passes";

pub(super) const SCHEMA: &str = "\
Examples:
  weir schema > /etc/weir/schema.json
  # and as the first line of weir.yaml, for editors with a YAML language server:
  # yaml-language-server: $schema=/etc/weir/schema.json";

pub(super) const COMPLETIONS: &str = "\
Examples:
  weir completions bash > /etc/bash_completion.d/weir
  weir completions zsh > /usr/local/share/zsh/site-functions/_weir";

pub(super) const MAN: &str = "\
Examples:
  weir man | man -l -            the page of weir itself
  weir man /usr/local/share/man/man1";

pub(super) const POLICY: &str = "\
Examples:
  weir policy test cases.yaml -c weir.yaml        do packets get what they should?
  weir policy diff new.yaml                       what would change, before anything does
  weir policy apply new.yaml --note 'blocklist X'
  weir policy history
  weir policy rollback                            back to the version before, at once";

pub(super) const REPLAY: &str = "\
Examples:
  weir replay capture.pcapng                      what the policy would have done to it
  weir replay capture.pcap --against new.yaml     where another one would differ
  weir replay capture.pcap --rules                with the bans that are in force now
  tcpdump -i eth0 -w - -c 100000 | weir replay -";

pub(super) const AUDIT: &str = "\
Examples:
  weir audit tail -n 50
  weir audit tail -f -o json | jq .message
  weir audit verify                               has anybody changed the record?";
