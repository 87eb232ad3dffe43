//! Limits on services. That they hold for every shape of frame is in `shapes`.

use weir_common::verdict::Reason;

use super::{CLEAN4, CLEAN6, HTTPS, ON_TRIAL4, Table, WATCHED4, v4, v6};

pub(super) fn add(table: &mut Table) {
    let https = v4(CLEAN4).udp(1, HTTPS);
    table.clean("at the limit", &https).times = 3;
    table.dropped("over the limit", &https, Reason::Limit, false).times = 4;
    table.dropped("over the limit by far", &https, Reason::Limit, false).times = 50;
    table.dropped("over the limit, ipv6", &v6(CLEAN6).tcp(1, HTTPS), Reason::Limit, false).times = 50;
    let mapped = v6(CLEAN4.to_ipv6_mapped()).tcp(1, HTTPS);
    table.dropped("over the limit, v4-mapped", &mapped, Reason::Limit, false).times = 4;
    table.clean("no service, no limit", &v4(CLEAN4).udp(1, 444)).times = 50;
    table.clean("from a service's port", &v4(CLEAN4).udp(HTTPS, 5000)).times = 50;
    let watched = v4(WATCHED4).udp(1, HTTPS);
    table.passed("watched, at the limit", &watched, Reason::Observe).times = 3;
    table.dropped("watched, over the limit", &watched, Reason::Limit, false).times = 4;
    // The list only notes, the limit drops.
    let trial = v4(ON_TRIAL4).udp(1, HTTPS);
    table.dropped("on trial, at the limit", &trial, Reason::Feed, true).times = 3;
    if table.setting == super::Setting::Shadow {
        table.dropped("on trial, over the limit", &trial, Reason::Feed, true).times = 4;
    } else {
        table.dropped("on trial, over the limit", &trial, Reason::Limit, false).times = 4;
    }
    let opening = v4(CLEAN4).tcp(1, 8005).syn();
    table.clean("opening within the limit", &opening).times = 2;
    table.dropped("opening too often", &opening, Reason::Limit, true).times = 3;
    table.clean("established", &v4(CLEAN4).tcp(1, 8005)).times = 50;
    // The bytes of a port are where a port would be.
    let later = v4(CLEAN4).protocol(17).fragment(9, false).payload(&[0x01, 0xbb, 0x01, 0xbb, 0, 0, 0, 0]);
    table.clean("a later fragment has no port", &later).times = 50;
    let valve = table.clean("admitted by the valve", &https);
    (valve.times, valve.full_limiter) = (3, true);
    let valve = table.dropped("refused by the valve", &https, Reason::Valve, false);
    (valve.times, valve.full_limiter) = (4, true);
}
