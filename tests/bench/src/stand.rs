//! A sender and somebody who filters, with a cable between them.
//!
//! The sender is an XDP program run on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`), which puts them on
//! one end of a veth. The other end receives them on the same CPU, right after each batch. So the
//! time of that CPU is what a packet takes: making it, moving it, and what the filter does with it.

use std::{any::Any, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader,
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, XdpMode},
};
use nix::net::if_::if_nametoindex;
use weir_bench_ebpf::source::Orders;
use weir_tests::{frame::Frame, namespace::Pair};

use crate::{
    cpu,
    driver::{OBJECT, order},
};

/// Frames that are sent before the receiver has its turn: what NAPI polls at once.
const BATCH: u32 = 64;
/// Which part of the frames must arrive for the time to count.
const ARRIVED: f64 = 0.999;

/// A sender and somebody who filters.
pub(crate) struct Stand {
    pub(crate) pair: Pair,
    generator: Ebpf,
    interface: u64,
    /// What filters, where a handle keeps it alive.
    filter: Option<Box<dyn Any + Send + Sync>>,
}

impl Stand {
    /// Makes a pair of namespaces. Nobody filters yet.
    pub(crate) fn new() -> Result<Self> {
        let pair = Pair::new()?;
        let interface = pair.client.run(|| Ok(if_nametoindex(Pair::INTERFACE)?))?;
        let mut generator = EbpfLoader::new().load(OBJECT).context("load the generator")?;
        let program: &mut Xdp = generator.program_mut("generator").context("no generator")?.try_into()?;
        program.load().context("load the generator")?;
        Ok(Self { pair, generator, interface: interface.into(), filter: None })
    }

    /// Attaches an XDP program in the driver, and keeps what it belongs to.
    pub(crate) fn attach(&mut self, mut ebpf: Ebpf, program: &str) -> Result<()> {
        self.pair.server.run(|| {
            let program: &mut Xdp = ebpf.program_mut(program).context("no such program")?.try_into()?;
            if program.fd().is_err() {
                program.load().context("load the filter")?;
            }
            program.attach(Pair::INTERFACE, XdpMode::Driver).context("attach the filter")?;
            Ok(())
        })?;
        self.filter = Some(Box::new(ebpf));
        Ok(())
    }

    /// Makes one whose filter is a program that does not look.
    pub(crate) fn empty(program: &str) -> Result<Self> {
        let mut stand = Self::new()?;
        stand.attach(EbpfLoader::new().load(OBJECT).context("load the empty program")?, program)?;
        Ok(stand)
    }

    /// Says which sources to send.
    pub(crate) fn order(&mut self, orders: Orders) -> Result<()> {
        order(&mut self.generator, Orders { interface: self.interface, ..orders }, 1)
    }

    /// Sends frames, and returns what one takes of the time of the CPU, in ns.
    pub(crate) fn send(&self, frame: &[u8], packets: u32) -> Result<f64> {
        let received = self.received()?;
        let took = self.pair.client.run(|| {
            let before = cpu_time()?;
            self.generate(frame, packets)?;
            Ok(cpu_time()?.saturating_sub(before))
        })?;
        let received = self.received()? - received;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let part = received as f64 / f64::from(packets);
        ensure!(part >= ARRIVED, "only {received} of {packets} frames have arrived");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        Ok(took.as_nanos() as f64 / f64::from(packets))
    }

    /// Sends frames from the thread that calls, which is in the namespace of the client.
    pub(crate) fn generate(&self, frame: &[u8], packets: u32) -> Result<()> {
        let program: &Xdp = self.generator.program("generator").context("no generator")?.try_into()?;
        let options = TestRunOptions {
            data_in: Some(frame),
            repeat: packets,
            attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
            ..TestRunOptions::default()
        };
        program.test_run(options).context("send live frames")?;
        Ok(())
    }

    /// Returns how many frames have arrived at the end that filters.
    fn received(&self) -> Result<u64> {
        self.pair.server.run(|| {
            let path = format!("/sys/class/net/{}/statistics/rx_packets", Pair::INTERFACE);
            let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
            text.trim().parse().with_context(|| format!("read {path}"))
        })
    }
}

/// Returns a frame for the service, without a checksum over the source (RFC 768: 0 is none).
pub(crate) fn frame(port: u16, for_server: bool) -> Vec<u8> {
    const UDP_CHECKSUM: usize = 14 + 20 + 6;
    let mac = if for_server { Pair::SERVER.mac } else { [0x02, 0, 0, 0, 0, 0x99] };
    let frame = Frame::new().destination_mac(mac).source_mac(Pair::CLIENT.mac);
    let frame = frame.ipv4(Pair::CLIENT.v4, Pair::SERVER.v4).udp(4000, port).payload(&[0; 18]);
    frame.overwrite(UDP_CHECKSUM, &[0, 0]).build()
}

/// Returns the time that the CPU of this thread has spent on it, and on the softirqs that were put
/// off to a thread of their own.
fn cpu_time() -> Result<Duration> {
    Ok(cpu::thread_time()? + softirq_time().unwrap_or_default())
}

/// Returns the time of the thread `ksoftirqd` of the CPU that this thread runs on.
fn softirq_time() -> Option<Duration> {
    let cpu = nix::sched::sched_getcpu().ok()?;
    let name = format!("ksoftirqd/{cpu}");
    // Kernel threads are started early: theirs are low numbers.
    let process = (1..200u32).find(|process| {
        fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|comm| comm.trim() == name)
    })?;
    let text = fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    Some(Duration::from_nanos(text.split(' ').next()?.parse().ok()?))
}
