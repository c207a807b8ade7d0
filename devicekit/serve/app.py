"""The web view: Starlette over the store, with the report's pages. It reads, and has no route that writes."""

import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from devicekit.errors import DevicekitError, UsageError
from devicekit.fleet.history import history
from devicekit.fleet.outcome import run_report
from devicekit.report.html.pages import device_page, error_page, index_page, model_page, run_page
from devicekit.report.html.table import Place
from devicekit.report.html.vega import bundle
from devicekit.store.open import Store
from devicekit.store.reading import device_facts, last_runs, names, newest_on, states_of

COOKIE = "devicekit-token"
RUNS_SHOWN = 200
POINTS_SHOWN = 2000
# Nothing is loaded from elsewhere. Vega compiles its expressions ('unsafe-eval'); no script of a page runs
# without its nonce, and its chart library comes from here.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'nonce-{nonce}' 'unsafe-eval'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def application(store: Store, *, hosts: Sequence[str], token: str | None) -> Starlette:
    """Returns the app. `hosts` are the names it answers to (a page of another site cannot reach it by a name
    of its own), `token` what a visitor must show: ?token=… once, a cookie from then on; None: nothing."""

    def page(make: Callable[[Request, Place], str]) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            if (refusal := refused(request)) is not None:
                return refusal
            place = Place(is_served=True, nonce=secrets.token_urlsafe(16))
            status = 200
            try:
                text = make(request, place)
            except UsageError as error:
                status, text = 404, error_page(error.message, error.remedy, place)
            except DevicekitError as error:
                status, text = 503, error_page(error.message, error.remedy, place)
            headers = {
                "Content-Security-Policy": _POLICY.format(nonce=place.nonce),
                "X-Content-Type-Options": "nosniff",
                "Referrer-Policy": "no-referrer",
                "Cache-Control": "no-store",
            }
            return HTMLResponse(text, status, headers)

        return answer

    def refused(request: Request) -> Response | None:
        if token is None:
            return None
        given = request.query_params.get("token")
        if given is not None and hmac.compare_digest(given.encode(), token.encode()):
            # The address without the token: it would stay in the history of the browser.
            response = RedirectResponse(request.url.path, 303)
            response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return response
        shown = request.cookies.get(COOKIE, "")
        if hmac.compare_digest(shown.encode(), token.encode()):
            return None
        return PlainTextResponse("a token is needed: open the address that `devicekit serve` printed\n", 401)

    def script(request: Request) -> Response:
        if (refusal := refused(request)) is not None:
            return refusal
        return PlainTextResponse(
            bundle(), media_type="text/javascript", headers={"Cache-Control": "max-age=3600"}
        )

    routes = [
        Route("/", page(lambda request, place: _index(store, place)), methods=["GET"]),
        Route("/runs/{run}", page(lambda request, place: _run(store, _name(request, "run"), place))),
        Route(
            "/models/{model:path}", page(lambda request, place: _model(store, _name(request, "model"), place))
        ),
        Route(
            "/devices/{device:path}",
            page(lambda request, place: _device(store, _name(request, "device"), place)),
        ),
        Route("/vega.js", script),
        Route("/{rest:path}", page(lambda request, place: _nothing())),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


def _name(request: Request, key: str) -> str:
    return str(request.path_params[key])


def _index(store: Store, place: Place) -> str:
    with store.reading() as connection:
        runs = last_runs(connection, limit=RUNS_SHOWN)
        states = states_of(connection, [run.id for run in runs])
        models, devices = names(connection)
    return index_page([(run, states.get(run.id, {})) for run in runs], models, devices, place)


def _run(store: Store, run: str, place: Place) -> str:
    return run_page(run_report(store, run, kind=None, has_timeline=True), place)


def _model(store: Store, model: str, place: Place) -> str:
    return model_page(history(store, model, limit=POINTS_SHOWN), place)


def _device(store: Store, device: str, place: Place) -> str:
    with store.reading() as connection:
        facts: Any = device_facts(connection, device)
        cells = newest_on(connection, device)
    return device_page(device, facts, cells, place)


def _nothing() -> str:
    raise UsageError("there is no such page", remedy="begin at the first: /")
