//! Questions about money: who used what, what it cost, who was paid.

use protocol::ids::PublicKey;
use protocol::ledger_api::CurvePrice;
use protocol::price::{Amount, Counters, SignedPriceSheet};
use protocol::statement::gateway_account;
use protocol::{AccountId, Epoch, GatewayId};
use serde_json::{Map, Value, json};

use super::{QueryError, page, proved, with_head};
use crate::account::{Account, Party};
use crate::epoch::Window;
use crate::server::Service;
use crate::state::{Holder, State};

/// Events that are read from disk for one answer.
const EVENTS_MAX: u32 = 1024;

pub(super) async fn statement(
    service: &Service,
    account: AccountId,
    epoch: Epoch,
) -> Result<Value, QueryError> {
    let charges = service.reader.charges(account, epoch).await?;
    let mut gateways: Vec<GatewayId> = {
        let chain = service.shared.read().await?;
        if !chain.state().customers().contains_key(&account) {
            return Err(QueryError::NoAccount(account));
        }
        chain.state().spenders(account)
    };
    for charge in &charges {
        gateways.extend(serde_json::from_value::<GatewayId>(charge.event["gateway"].clone()).ok());
    }
    gateways.sort_unstable();
    gateways.dedup();
    let mut entries = Vec::with_capacity(gateways.len());
    for gateway in gateways {
        entries.push((gateway, service.reader.statement(gateway, account, epoch).await?));
    }

    let chain = service.shared.read().await?;
    let state = chain.state();
    let lines = entries.iter().filter_map(|(gateway, entry)| {
        let charge = charges.iter().find(|told| told.event["gateway"] == json!(gateway));
        if charge.is_none() && entry.is_none() {
            return None;
        }
        let stated = entry.as_ref().and_then(|(_, entry)| stated(entry));
        Some(json!({
            "gateway": gateway,
            "counters": charge.map(|told| told.event["counters"].clone())
                .or_else(|| Some(json!(stated?.0))),
            "amount": charge.map(|told| told.event["amount"].clone())
                .or_else(|| Some(json!(stated?.1))),
            "charged": charge.is_some(),
            "reserved": state.book().balance(Account::Reserved(*gateway, account)),
            "statement": entry.as_ref().and_then(|(index, entry)| proved(&chain, *index, entry)),
        }))
    });
    let answer = json!({
        "account": account,
        "epoch": epoch,
        "stage": stage(state, epoch),
        "prices": sheet(state.prices_of(epoch)),
        "lines": lines.collect::<Vec<_>>(),
    });
    Ok(with_head(&chain, service, answer))
}

/// What a usage statement says.
fn stated(entry: &crate::entry::Entry) -> Option<(Counters, Amount)> {
    use protocol::ledger_api::Submission;
    let crate::entry::Entry::Submitted(Submission::Usage(usage)) = entry else { return None };
    Some((usage.counters, usage.amount))
}

fn stage(state: &State, epoch: Epoch) -> Option<&'static str> {
    if epoch == state.open().epoch {
        return Some("open");
    }
    if let Some(intake) = state.intake().get(&epoch) {
        return Some(match intake.window {
            Window::Receipts => "receipts",
            Window::Statements => "statements",
        });
    }
    let sealed = state.sealed().contains_key(&epoch).then_some("sealed");
    sealed.or_else(|| state.mature().contains_key(&epoch).then_some("mature"))
}

pub(super) async fn earnings(
    service: &Service,
    party: PublicKey,
    epochs: (Epoch, Epoch),
    after: u64,
) -> Result<Value, QueryError> {
    let told = service.reader.events_of_party(party, epochs, after, EVENTS_MAX).await?;
    let chain = service.shared.read().await?;
    let last = told.last().map(|told| told.id);
    let is_cut = told.len() == EVENTS_MAX as usize;
    let (events, next) = page(told.into_iter().map(|told| {
        let mut event = told.event;
        if event["event"] == "earned" {
            event["amounts"] = amounts(chain.state(), &event);
        }
        event["id"] = told.id.into();
        event["height"] = told.height.into();
        (told.id, event)
    }));
    let next = next.or(last.filter(|_| is_cut));
    Ok(json!({ "party": party, "events": events, "next": next }))
}

/// What each counter of an event comes to, in money or units.
fn amounts(state: &State, event: &Value) -> Value {
    let counters = serde_json::from_value::<Counters>(event["counters"].clone());
    let epoch = serde_json::from_value::<Epoch>(event["epoch"].clone());
    let (Ok(counters), Ok(epoch)) = (counters, epoch) else { return Value::Null };
    json!(counters.amounts(&state.prices_of(epoch).sheet.prices))
}

fn sheet(signed: &SignedPriceSheet) -> Value {
    json!({
        "id": hex::encode(signed.sheet.id()),
        "from": signed.sheet.from,
        "until": signed.sheet.until,
        "prices": signed.sheet.prices,
        "signature": hex::encode(signed.signature.0),
    })
}

pub(super) fn prices(state: &State) -> Value {
    let curve = state.curve().map(CurvePrice::from);
    json!({
        "open": state.open().epoch,
        "sheets": state.price_sheets().map(sheet).collect::<Vec<_>>(),
        "curve": curve.map(|curve| json!({ "money": curve.money, "units": curve.units })),
    })
}

pub(super) fn gateways(state: &State) -> Value {
    // Each gateway there ever was has an account of its own.
    let own = state.customers().iter();
    let own = own.filter_map(|(account, customer)| match customer.holder {
        Holder::Gateway(gateway) if gateway_account(gateway) == *account => {
            Some((*account, gateway))
        }
        _ => None,
    });
    let items = own.map(|(account, gateway)| {
        let balance = |account| state.book().balance(account);
        let party = Party::Gateway(gateway);
        json!({
            "gateway": gateway,
            "revoked": !state.is_gateway(gateway),
            "account": account,
            "available": balance(Account::Available(account)),
            "reserved": balance(Account::Reserved(gateway, account)),
            "spent": state.customers()[&account].spent,
            "bond": balance(Account::Bond(gateway)),
            "immature": balance(Account::Immature(party)),
            "mature": balance(Account::Mature(party)),
            "withdrawn": balance(Account::Withdrawn(party)),
        })
    });
    json!({ "gateways": items.collect::<Vec<_>>() })
}

pub(super) fn quote(
    state: &State,
    given: Map<String, Value>,
    epoch: Option<Epoch>,
) -> Result<Value, QueryError> {
    let counters = counters(given)?;
    let epoch = epoch.unwrap_or(state.open().epoch);
    let signed = state.prices_of(epoch);
    let amount = counters.amount(&signed.sheet.prices);
    // On the curve a sheet counts units, and what they cost is asked of it.
    let (units, money) = match state.curve() {
        None => (None, None),
        Some(curve) => (Some(amount), curve.cost(amount.0).map(Amount)),
    };
    Ok(json!({
        "epoch": epoch,
        "sheet": hex::encode(signed.sheet.id()),
        "counters": counters,
        "amount": money.or(units.is_none().then_some(amount)),
        "units": units,
        "money": money,
    }))
}

/// Counters of which only some are named.
fn counters(given: Map<String, Value>) -> Result<Counters, QueryError> {
    let mut all = json!(Counters::default());
    for (name, count) in given {
        match all.get_mut(&name) {
            Some(slot) => *slot = count,
            None => return Err(QueryError::NoCounter(name)),
        }
    }
    Ok(serde_json::from_value(all)?)
}
