//! Version 3 of a row and of a schedule: version 2, with what came later behind it. Written only
//! where there is something of it, so that an ordinary row stays as short as it was. Field order
//! is the byte order; never change it, add a version 4.

use std::sync::Arc;

use bincode::{BorrowDecode, Encode};

use super::v2::{LabelTestV2, RowV2, ScheduleV2};
use super::{name, shared};
use crate::core::command::{
    Assign, Name, ParkTimeout, Placement, Preference, RateLimit, Resource, Spec, TaskId,
};
use crate::core::limits::Rate;
use crate::core::record::{Details, Parking, ScheduleRow, Span, TaskRow, Window};

/// A row.
#[derive(Encode, BorrowDecode)]
pub(super) struct RowV3<'a> {
    row: RowV2<'a>,
    spec: SpecTailV3<'a>,
    details: DetailsTailV3<'a>,
}

/// A schedule.
#[derive(Encode, BorrowDecode)]
pub(super) struct ScheduleV3<'a> {
    schedule: ScheduleV2<'a>,
    spec: SpecTailV3<'a>,
}

#[derive(Encode, BorrowDecode)]
struct SpecTailV3<'a> {
    rates: Vec<RateV3<'a>>,
    placement: Option<PlacementV3<'a>>,
    has_headers: bool,
}

#[derive(Encode, BorrowDecode)]
struct RateV3<'a> {
    name: &'a str,
    grants: u32,
    period_ms: u64,
}

#[derive(Encode, BorrowDecode)]
struct PlacementV3<'a> {
    resources: Vec<(&'a str, u32)>,
    prefer: Vec<(u32, LabelTestV2<'a>)>,
    assign: Option<(&'a str, Option<u64>)>,
    sticky_ms: u64,
}

#[derive(Encode, BorrowDecode)]
struct DetailsTailV3<'a> {
    window: Option<WindowV3<'a>>,
    former: Option<&'a str>,
    is_escalated: bool,
}

#[derive(Encode, BorrowDecode)]
struct WindowV3<'a> {
    agent: &'a str,
    /// Length and wall anchor, in milliseconds.
    span: Option<(u64, u64)>,
}

impl<'a> RowV3<'a> {
    /// The row in this version, if it has anything that version 2 does not know.
    pub(super) fn of(row: &'a TaskRow) -> Option<RowV3<'a>> {
        let details = row.details();
        let is_needed = SpecTailV3::is_needed(&row.spec) || DetailsTailV3::is_needed(details);
        is_needed.then(|| RowV3 {
            row: RowV2::of(row),
            spec: SpecTailV3::of(&row.spec),
            details: DetailsTailV3::of(details),
        })
    }

    pub(super) fn into_row(self, task: TaskId) -> Result<TaskRow, String> {
        let mut row = self.row.into_row(task)?;
        row.spec = Arc::new(self.spec.add_to(Spec::clone(&row.spec))?);
        if let Some(details) = &mut row.details {
            self.details.add_to(details)?;
        }
        Ok(row)
    }
}

impl<'a> ScheduleV3<'a> {
    /// The schedule in this version, if it has anything that version 2 does not know.
    pub(super) fn of(row: &'a ScheduleRow) -> Option<ScheduleV3<'a>> {
        let spec = &row.schedule.spec;
        SpecTailV3::is_needed(spec)
            .then(|| ScheduleV3 { schedule: ScheduleV2::of(row), spec: SpecTailV3::of(spec) })
    }

    pub(super) fn into_row(self) -> Result<ScheduleRow, String> {
        let mut row = self.schedule.into_row()?;
        let schedule = Arc::make_mut(&mut row.schedule);
        schedule.spec = self.spec.add_to(schedule.spec.clone())?;
        Ok(row)
    }
}

impl<'a> SpecTailV3<'a> {
    fn is_needed(spec: &Spec) -> bool {
        !spec.rates.is_empty() || spec.placement.is_some() || spec.has_headers
    }

    fn of(spec: &'a Spec) -> SpecTailV3<'a> {
        let rate = |limit: &'a RateLimit| {
            let Rate { grants, period_ms } = limit.rate;
            RateV3 { name: limit.name.as_str(), grants, period_ms }
        };
        SpecTailV3 {
            rates: spec.rates.iter().map(rate).collect(),
            placement: spec.placement.as_deref().map(PlacementV3::of),
            has_headers: spec.has_headers,
        }
    }

    fn add_to(self, spec: Spec) -> Result<Spec, String> {
        let rate = |rate: RateV3<'_>| {
            let (grants, period_ms) = (rate.grants, rate.period_ms);
            Ok::<_, String>(RateLimit { name: name(rate.name)?, rate: Rate { grants, period_ms } })
        };
        let rates = self.rates.into_iter().map(rate).collect::<Result<Vec<_>, _>>()?;
        let placement = self.placement.map(PlacementV3::into_placement).transpose()?;
        let (rates, placement) = (shared(rates), placement.map(Arc::new));
        Ok(Spec { rates, placement, has_headers: self.has_headers, ..spec })
    }
}

impl<'a> PlacementV3<'a> {
    fn of(placement: &'a Placement) -> PlacementV3<'a> {
        let resource = |used: &'a Resource| (used.name.as_str(), used.amount);
        let preference = |it: &'a Preference| (it.weight, LabelTestV2::of(&it.test));
        PlacementV3 {
            resources: placement.resources.iter().map(resource).collect(),
            prefer: placement.prefer.iter().map(preference).collect(),
            assign: placement.assign.as_ref().map(|it| (it.agent.as_str(), it.for_ms)),
            sticky_ms: placement.sticky_ms,
        }
    }

    fn into_placement(self) -> Result<Placement, String> {
        let resource = |(text, amount)| Ok::<_, String>(Resource { name: name(text)?, amount });
        let preference = |(weight, test): (u32, LabelTestV2<'_>)| {
            Ok::<_, String>(Preference { weight, test: test.into_test()? })
        };
        let assign = |(agent, for_ms)| Ok::<_, String>(Assign { agent: name(agent)?, for_ms });
        let resources = self.resources.into_iter().map(resource).collect::<Result<Vec<_>, _>>()?;
        let prefer = self.prefer.into_iter().map(preference).collect::<Result<Vec<_>, _>>()?;
        Ok(Placement {
            resources: shared(resources),
            prefer: shared(prefer),
            assign: self.assign.map(assign).transpose()?,
            sticky_ms: self.sticky_ms,
        })
    }
}

impl<'a> DetailsTailV3<'a> {
    fn is_needed(details: &Details) -> bool {
        let is_new =
            |parking: &Parking| parking.is_escalated || parking.on_timeout == ParkTimeout::Escalate;
        details.window.is_some()
            || details.former.is_some()
            || details.parking.as_deref().is_some_and(is_new)
    }

    fn of(details: &'a Details) -> DetailsTailV3<'a> {
        let window = |window: &'a Window| WindowV3 {
            agent: window.agent.as_str(),
            span: window.span.map(|span| (span.length_ms, span.anchor_ms)),
        };
        DetailsTailV3 {
            window: details.window.as_deref().map(window),
            former: details.former.as_ref().map(Name::as_str),
            is_escalated: details.parking.as_ref().is_some_and(|parking| parking.is_escalated),
        }
    }

    fn add_to(self, details: &mut Details) -> Result<(), String> {
        if let Some(WindowV3 { agent, span }) = self.window {
            let span = span.map(|(length_ms, anchor_ms)| Span { length_ms, anchor_ms });
            details.window = Some(Box::new(Window { agent: name(agent)?, span }));
        }
        details.former = self.former.map(name).transpose()?;
        if let Some(parking) = &mut details.parking {
            parking.is_escalated = self.is_escalated;
        }
        Ok(())
    }
}
