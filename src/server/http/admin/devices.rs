//! The page of the miners as devices: what each can be told, how it is pointed here and back, and the
//! search for those that are not here yet.

use std::net::IpAddr;
use std::rc::Rc;

use hyper::Response;

use super::super::Http;
use super::super::forms::{Page, devices};
use super::super::route::{self, Body};
use super::{Admin, Busy, Form};
use crate::devices::Way;
use crate::devices::pointing::Command;
use crate::settings::Remark;
use crate::settings::access::Token;
use crate::settings::devices::{DevicePlan, DeviceStep, PointWish, fallback};
use crate::status::{DeviceView, format};

/// All devices that the owner can do something with.
#[derive(Clone, Debug, Default)]
pub struct DeviceList {
    /// Those that are asked, then those that a search has found.
    pub devices: Vec<DeviceEntry>,
    /// Whether devices are asked at all.
    pub asks: bool,
    /// When a search last ended, Unix seconds.
    pub searched_at: Option<u64>,
    /// The own networks that a search goes through, such as `192.168.1.20/24`.
    pub networks: Vec<String>,
}

/// One device.
#[derive(Clone, Debug)]
pub struct DeviceEntry {
    /// What it says of itself.
    pub view: DeviceView,
    /// What it can be told.
    pub commands: Vec<Command>,
    /// How it is pointed at a pool.
    pub way: Way,
    /// The pool that it mines on is this box.
    pub mines_here: bool,
    /// It can be pointed here by Stratum V2.
    pub speaks_v2: bool,
    /// It was pointed here by this box.
    pub pointed: Option<Pointed>,
    /// What is typed into its own page instead.
    pub by_hand: String,
}

/// A device whose settings of before are kept.
#[derive(Clone, Debug)]
pub struct Pointed {
    /// When it was pointed here, Unix seconds.
    pub at: u64,
    /// Where its first share stands; empty where nobody waits for it any more.
    pub words: String,
}

impl Admin {
    /// `GET /devices`.
    pub(super) fn devices_page(&self, http: &Http, token: &Token) -> Response<Body> {
        self.devices_with(http, token, Vec::new(), &[])
    }

    /// The same, with what came of a press.
    fn devices_with(
        &self,
        http: &Http,
        token: &Token,
        problems: Vec<Remark>,
        done: &[String],
    ) -> Response<Body> {
        let list = self.control.devices();
        self.page(
            http,
            Page::Devices(devices::Shown { token, list: &list, problems: &problems, done }),
        )
    }

    /// A press on it: `step` says what is to be done with `device`.
    pub(super) async fn device(
        self: &Rc<Self>,
        http: &Http,
        form: &Form,
        token: &Token,
        peer: IpAddr,
    ) -> Response<Body> {
        let address = form.get("device").unwrap_or_default().to_owned();
        let failed = |why: String| self.devices_with(http, token, vec![Remark::whole(why)], &[]);
        if self.device_busy.replace(true) {
            let words = "A device is being told something, or a search is under way: try again in a few \
                         seconds.";
            return failed(words.to_owned());
        }
        let _busy = Busy(self.clone(), |admin| &admin.device_busy);
        let step = match form.get("step").unwrap_or_default() {
            "find" => {
                self.control.audit(peer, "The own network is searched for miners.".to_owned());
                return match self.control.find_devices().await {
                    Ok(done) => self.devices_with(http, token, Vec::new(), &[done]),
                    Err(why) => failed(why),
                };
            }
            "plan" | "point" => {
                let pool = form.get("pool").unwrap_or_default();
                let user = form.get("pool_user").unwrap_or_default();
                let wish = match fallback(pool, user) {
                    Ok(fallback) => PointWish { v2: form.get("v2") == Some("yes"), fallback },
                    Err(why) => return failed(why),
                };
                match form.get("seen") {
                    Some(seen) if form.get("step") == Some("point") => {
                        DeviceStep::Point { wish, seen: seen.to_owned() }
                    }
                    _ => return self.plan_page(http, token, &address, wish, failed).await,
                }
            }
            "back" => DeviceStep::PutBack,
            step => match Command::ALL.into_iter().find(|command| command.name() == step) {
                Some(Command::Restart) if form.get("sure") != Some("yes") => {
                    return failed("Tick the box beside the button first.".to_owned());
                }
                Some(command) => DeviceStep::Tell(command),
                None => return route::see("/devices"),
            },
        };
        // What a form says is not known to be a device yet.
        let named = format::tame(&address);
        let words = match &step {
            DeviceStep::Tell(command) => {
                format!("Device {named} is told: {}.", command.name())
            }
            DeviceStep::Point { .. } => format!("Device {named} is to be pointed here."),
            DeviceStep::PutBack => {
                format!("Device {named} is to get its settings of before back.")
            }
        };
        self.control.audit(peer, words);
        let outcome = self.control.tell_device(&address, step).await;
        http.forget_rendered();
        match outcome {
            Ok(done) => self.devices_with(http, token, Vec::new(), &[done]),
            Err(why) => failed(why),
        }
    }

    /// What would be sent, old and new side by side.
    async fn plan_page(
        &self,
        http: &Http,
        token: &Token,
        address: &str,
        wish: PointWish,
        failed: impl Fn(String) -> Response<Body>,
    ) -> Response<Body> {
        let list = self.control.devices();
        let Some(entry) = list.devices.iter().find(|entry| entry.view.address == address) else {
            return failed("This device is not known any more: look at the list.".to_owned());
        };
        let plan: DevicePlan = match self.control.plan_device(address, wish.clone()).await {
            Ok(plan) => plan,
            Err(why) => return failed(why),
        };
        self.page(
            http,
            Page::DevicePlan(devices::Preview { token, entry, wish: &wish, plan: &plan }),
        )
    }
}
