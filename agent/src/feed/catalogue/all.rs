use super::{Known, Publisher};
use crate::config::{FeedAction, Format};

const SPAMHAUS: Publisher = Publisher {
    category: "hijacked",
    licence: "free, with copyright, date and terms kept (spamhaus.org/drop/terms)",
    hours: 24.0,
    action: FeedAction::Drop,
};

const FIREHOL: Publisher = Publisher {
    category: "mixed",
    licence: "each source's own, some not for redistribution (iplists.firehol.org)",
    hours: 1.0,
    action: FeedAction::Observe,
};

const EMERGING_THREATS: Publisher =
    Publisher { category: "attacker", licence: "ET Open, MIT", hours: 12.0, action: FeedAction::Drop };

const DSHIELD: Publisher = Publisher {
    category: "scanner",
    licence: "CC BY-NC-SA 2.5: not for commercial use",
    hours: 1.0,
    action: FeedAction::Drop,
};

const ABUSE_CH: Publisher =
    Publisher { category: "botnet", licence: "CC0-1.0; fair use", hours: 1.0, action: FeedAction::Drop };

const BLOCKLIST_DE: Publisher = Publisher {
    category: "attacker",
    licence: "free, with attribution",
    hours: 1.0,
    action: FeedAction::Drop,
};

const IPSUM: Publisher =
    Publisher { category: "mixed", licence: "Unlicense", hours: 24.0, action: FeedAction::Suspicious };

const DATAPLANE: Publisher = Publisher {
    category: "scanner",
    licence: "not for commercial use (dataplane.org)",
    hours: 1.0,
    action: FeedAction::Suspicious,
};

const TOR: Publisher =
    Publisher { category: "anonymizer", licence: "public", hours: 1.0, action: FeedAction::Observe };

const CYMRU: Publisher = Publisher {
    category: "bogon",
    licence: "free, not for redistribution (team-cymru.com)",
    hours: 24.0,
    action: FeedAction::Drop,
};

const STOP_FORUM_SPAM: Publisher = Publisher {
    category: "spam",
    licence: "CC BY-NC-ND 3.0: not for commercial use",
    hours: 24.0,
    action: FeedAction::Suspicious,
};

const MALTRAIL: Publisher =
    Publisher { category: "scanner", licence: "MIT", hours: 24.0, action: FeedAction::Observe };

const DATA_SHIELD: Publisher = Publisher {
    category: "mixed",
    licence: "GPL-3.0 (the repository's)",
    hours: 2.0,
    action: FeedAction::Drop,
};

const OTHER: Publisher = Publisher {
    category: "attacker",
    licence: "free, not for commercial use",
    hours: 1.0,
    action: FeedAction::Drop,
};

const CLOUD: Publisher = Publisher {
    category: "cloud",
    licence: "published by its operator for this use",
    hours: 12.0,
    action: FeedAction::Allow,
};

const TURRIS: Publisher = Publisher { licence: "CC BY-NC-SA 4.0: not for commercial use", ..OTHER };
const ABUSEIPDB: Publisher =
    Publisher { licence: "AbuseIPDB's terms; no redistribution; free keys: 5 requests a day", ..OTHER };
const CINS: Publisher = Publisher { licence: "free", ..OTHER };

/// All of them.
pub const ALL: &[Known] = &[
    SPAMHAUS.feed("spamhaus-drop-v4", "https://www.spamhaus.org/drop/drop_v4.json", || Format::SpamhausDrop, "Spamhaus DROP: netblocks of criminals, IPv4"),
    SPAMHAUS.feed("spamhaus-drop-v6", "https://www.spamhaus.org/drop/drop_v6.json", || Format::SpamhausDrop, "Spamhaus DROP: netblocks of criminals, IPv6"),
    SPAMHAUS.feed("spamhaus-asndrop", "https://www.spamhaus.org/drop/asndrop.json", || Format::SpamhausAsndrop, "Spamhaus ASN-DROP: autonomous systems of criminals; needs tables"),
    FIREHOL.feed("firehol-level1", "https://iplists.firehol.org/files/firehol_level1.netset", || Format::Plain, "FireHOL level 1: attacks, with special-use networks and bogons in it"),
    FIREHOL.feed("firehol-level2", "https://iplists.firehol.org/files/firehol_level2.netset", || Format::Plain, "FireHOL level 2: attacks of the last 48 hours"),
    FIREHOL.feed("firehol-level3", "https://iplists.firehol.org/files/firehol_level3.netset", || Format::Plain, "FireHOL level 3: attacks, spyware and viruses of the last 30 days"),
    FIREHOL.feed("firehol-level4", "https://iplists.firehol.org/files/firehol_level4.netset", || Format::Plain, "FireHOL level 4: attacks, more aggressive and with false positives"),
    EMERGING_THREATS.feed("et-block", "https://rules.emergingthreats.net/fwrules/emerging-Block-IPs.txt", || Format::Plain, "Emerging Threats: networks to block at a firewall"),
    EMERGING_THREATS.feed("et-compromised", "https://rules.emergingthreats.net/blockrules/compromised-ips.txt", || Format::Plain, "Emerging Threats: compromised hosts").category("compromised"),
    DSHIELD.feed("dshield", "https://feeds.dshield.org/block.txt", || Format::Dshield, "DShield: the 20 networks that attack most"),
    ABUSE_CH.feed("feodo", "https://feodotracker.abuse.ch/downloads/ipblocklist_recommended.txt", || Format::Plain, "Feodo Tracker: command servers of botnets, recommended").can_be_empty(),
    ABUSE_CH.feed("feodo-csv", "https://feodotracker.abuse.ch/downloads/ipblocklist.csv", || Format::FeodoCsv, "Feodo Tracker: command servers of botnets, with the malware as category").can_be_empty(),
    ABUSE_CH.feed("feodo-json", "https://feodotracker.abuse.ch/downloads/ipblocklist.json", || Format::FeodoJson, "Feodo Tracker: command servers of botnets, with the malware as category").can_be_empty(),
    ABUSE_CH.feed("threatfox", "https://threatfox.abuse.ch/export/csv/ip-port/recent/", || Format::Threatfox, "ThreatFox: command servers of the last 48 hours, the confidence as score").auth("Auth-Key"),
    ABUSEIPDB.feed("abuseipdb", "https://api.abuseipdb.com/api/v2/blacklist?confidenceMinimum=90&limit=500000", || Format::Abuseipdb, "AbuseIPDB: the most reported addresses, the confidence as score").auth("Key").every(6.0),
    CINS.feed("cins", "https://cinsscore.com/list/ci-badguys.txt", || Format::Plain, "CINS Army: 15,000 addresses of bad score").every(3.0),
    BLOCKLIST_DE.feed("blocklist-de", "https://lists.blocklist.de/lists/all.txt", || Format::Plain, "blocklist.de: all attackers of the last 48 hours"),
    BLOCKLIST_DE.feed("blocklist-de-ssh", "https://lists.blocklist.de/lists/ssh.txt", || Format::Plain, "blocklist.de: attacks on SSH"),
    BLOCKLIST_DE.feed("blocklist-de-mail", "https://lists.blocklist.de/lists/mail.txt", || Format::Plain, "blocklist.de: attacks on mail servers"),
    BLOCKLIST_DE.feed("blocklist-de-apache", "https://lists.blocklist.de/lists/apache.txt", || Format::Plain, "blocklist.de: attacks on web servers"),
    BLOCKLIST_DE.feed("blocklist-de-imap", "https://lists.blocklist.de/lists/imap.txt", || Format::Plain, "blocklist.de: attacks on IMAP, SASL and POP3"),
    BLOCKLIST_DE.feed("blocklist-de-ftp", "https://lists.blocklist.de/lists/ftp.txt", || Format::Plain, "blocklist.de: attacks on FTP"),
    BLOCKLIST_DE.feed("blocklist-de-sip", "https://lists.blocklist.de/lists/sip.txt", || Format::Plain, "blocklist.de: attacks on SIP, VoIP and Asterisk"),
    BLOCKLIST_DE.feed("blocklist-de-bots", "https://lists.blocklist.de/lists/bots.txt", || Format::Plain, "blocklist.de: bots and attacks of the kind REG, IRC and BadBots"),
    BLOCKLIST_DE.feed("blocklist-de-strongips", "https://lists.blocklist.de/lists/strongips.txt", || Format::Plain, "blocklist.de: attackers of more than two months"),
    BLOCKLIST_DE.feed("blocklist-de-bruteforcelogin", "https://lists.blocklist.de/lists/bruteforcelogin.txt", || Format::Plain, "blocklist.de: attacks on logins of Joomla, WordPress and others"),
    OTHER.feed("greensnow", "https://blocklist.greensnow.co/greensnow.txt", || Format::Plain, "GreenSnow: scans and brute force"),
    OTHER.feed("binarydefense", "https://www.binarydefense.com/banlist.txt", || Format::Plain, "Binary Defense: attackers of its honeypots").every(24.0),
    OTHER.feed("bruteforceblocker", "https://danger.rulez.sk/projects/bruteforceblocker/blist.php", || Format::Plain, "BruteForceBlocker: attacks on SSH").every(3.0),
    IPSUM.feed("ipsum", "https://raw.githubusercontent.com/stamparm/ipsum/master/ipsum.txt", || Format::Score, "IPsum: addresses of 30 lists, the number of lists as score; set min_score"),
    IPSUM.feed("ipsum-level1", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/1.txt", || Format::Plain, "IPsum: addresses named by any list"),
    IPSUM.feed("ipsum-level2", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/2.txt", || Format::Plain, "IPsum: addresses named by 2 lists or more"),
    IPSUM.feed("ipsum-level3", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/3.txt", || Format::Plain, "IPsum: addresses named by 3 lists or more"),
    IPSUM.feed("ipsum-level4", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/4.txt", || Format::Plain, "IPsum: addresses named by 4 lists or more"),
    IPSUM.feed("ipsum-level5", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/5.txt", || Format::Plain, "IPsum: addresses named by 5 lists or more"),
    IPSUM.feed("ipsum-level6", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/6.txt", || Format::Plain, "IPsum: addresses named by 6 lists or more"),
    IPSUM.feed("ipsum-level7", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/7.txt", || Format::Plain, "IPsum: addresses named by 7 lists or more"),
    IPSUM.feed("ipsum-level8", "https://raw.githubusercontent.com/stamparm/ipsum/master/levels/8.txt", || Format::Plain, "IPsum: addresses named by 8 lists or more"),
    TOR.feed("tor-exits", "https://check.torproject.org/torbulkexitlist", || Format::Plain, "Tor: exits"),
    TOR.feed("tor-exit-addresses", "https://check.torproject.org/exit-addresses", || Format::TorExitAddresses, "Tor: addresses that exits were seen to use"),
    CYMRU.feed("fullbogons-v4", "https://www.team-cymru.org/Services/Bogons/fullbogons-ipv4.txt", || Format::Plain, "Team Cymru: IPv4 networks that nobody should use"),
    CYMRU.feed("fullbogons-v6", "https://www.team-cymru.org/Services/Bogons/fullbogons-ipv6.txt", || Format::Plain, "Team Cymru: IPv6 networks that nobody should use"),
    TURRIS.feed("turris", "https://view.sentinel.turris.cz/greylist-data/greylist-latest.csv", || Format::Turris, "Turris: attackers of its routers, the kind of attack as category").every(12.0),
    DATAPLANE.feed("dataplane-sshpwauth", "https://dataplane.org/sshpwauth.txt", || Format::Dataplane, "DataPlane.org: logins to SSH"),
    DATAPLANE.feed("dataplane-sshclient", "https://dataplane.org/sshclient.txt", || Format::Dataplane, "DataPlane.org: connections to SSH"),
    DATAPLANE.feed("dataplane-telnetlogin", "https://dataplane.org/telnetlogin.txt", || Format::Dataplane, "DataPlane.org: logins to Telnet"),
    DATAPLANE.feed("dataplane-vncrfb", "https://dataplane.org/vncrfb.txt", || Format::Dataplane, "DataPlane.org: connections to VNC"),
    DATAPLANE.feed("dataplane-sipquery", "https://dataplane.org/sipquery.txt", || Format::Dataplane, "DataPlane.org: SIP OPTIONS"),
    DATAPLANE.feed("dataplane-sipinvitation", "https://dataplane.org/sipinvitation.txt", || Format::Dataplane, "DataPlane.org: SIP INVITE"),
    DATAPLANE.feed("dataplane-sipregistration", "https://dataplane.org/sipregistration.txt", || Format::Dataplane, "DataPlane.org: SIP REGISTER"),
    DATAPLANE.feed("dataplane-dnsrd", "https://dataplane.org/dnsrd.txt", || Format::Dataplane, "DataPlane.org: DNS queries that ask for recursion"),
    DATAPLANE.feed("dataplane-dnsrdany", "https://dataplane.org/dnsrdany.txt", || Format::Dataplane, "DataPlane.org: DNS queries for ANY"),
    DATAPLANE.feed("dataplane-dnsversion", "https://dataplane.org/dnsversion.txt", || Format::Dataplane, "DataPlane.org: DNS queries for the version"),
    DATAPLANE.feed("dataplane-smtpdata", "https://dataplane.org/smtpdata.txt", || Format::Dataplane, "DataPlane.org: mail to nobody"),
    DATAPLANE.feed("dataplane-smtpgreet", "https://dataplane.org/smtpgreet.txt", || Format::Dataplane, "DataPlane.org: greetings to mail servers"),
    STOP_FORUM_SPAM.feed("stopforumspam-toxic", "https://www.stopforumspam.com/downloads/toxic_ip_cidr.txt", || Format::Plain, "StopForumSpam: networks of spammers"),
    STOP_FORUM_SPAM.feed("stopforumspam", "https://www.stopforumspam.com/downloads/bannedips.zip", || Format::Words, "StopForumSpam: all addresses of spammers"),
    MALTRAIL.feed("maltrail-scanners", "https://raw.githubusercontent.com/stamparm/maltrail/master/trails/static/mass_scanner.txt", || Format::Plain, "Maltrail: hosts of mass scanners"),
    MALTRAIL.feed("maltrail-scanner-networks", "https://raw.githubusercontent.com/stamparm/maltrail/master/trails/static/mass_scanner_cidr.txt", || Format::Plain, "Maltrail: networks of mass scanners"),
    DATA_SHIELD.feed("data-shield", "https://raw.githubusercontent.com/duggytuxy/Data-Shield_IPv4_Blocklist/refs/heads/main/prod_data-shield_ipv4_blocklist.txt", || Format::Plain, "Data-Shield: attackers of its honeypots"),
    CLOUD.feed("aws", "https://ip-ranges.amazonaws.com/ip-ranges.json", || Format::Aws, "AWS; the service as category").action(FeedAction::Observe),
    CLOUD.feed("gcp", "https://www.gstatic.com/ipranges/cloud.json", || Format::Google, "Google Cloud; the region as category").action(FeedAction::Observe),
    CLOUD.feed("google", "https://www.gstatic.com/ipranges/goog.json", || Format::Google, "Google, with Google Cloud").action(FeedAction::Observe),
    CLOUD.feed("googlebot", "https://developers.google.com/static/search/apis/ipranges/googlebot.json", || Format::Google, "Google's crawlers").category("search-bot"),
    CLOUD.feed("bingbot", "https://www.bing.com/toolbox/bingbot.json", || Format::Google, "Bing's crawlers").category("search-bot"),
    CLOUD.feed("cloudflare-v4", "https://www.cloudflare.com/ips-v4", || Format::Plain, "Cloudflare's edge, IPv4").category("cdn"),
    CLOUD.feed("cloudflare-v6", "https://www.cloudflare.com/ips-v6", || Format::Plain, "Cloudflare's edge, IPv6").category("cdn"),
    CLOUD.feed("fastly", "https://api.fastly.com/public-ip-list", || Format::Fastly, "Fastly's edge").category("cdn"),
    CLOUD.feed("github", "https://api.github.com/meta", || Format::Github, "GitHub, with webhooks and Actions").action(FeedAction::Observe),
];
