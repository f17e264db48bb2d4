"""Handoffs that are only talked about: a reply says that somebody else takes over, and calls no tool."""

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from relayline.machine.topology import PREFIX, tool_names

# All of this is matched against what `_plain` makes of a text: small letters without accents, one space between words.
# A false alarm costs more than a miss, so what may stand between the parts is listed, never "anything"; and every
# repeat has a bound, so that the time taken grows with the text and no faster.

# Where an announcement may begin: "he said I'll", "whether I'll" and "not transferring" begin nowhere here.
OPEN = r"(?:^\W*|[,;:()\[] ?|\b(?:so|but|now|next|finally|therefore|sure|ok|okay|alright|great|thanks|gerne) )"
SOON = r"(?:(?:now|just|gladly|immediately|quickly|go ahead and|need to|have to|jetzt|gleich|gerne|nun|nu) ){0,2}"
I_WILL = (  # no "and I'll": it follows "press 1", "tell me your number". No "I can", "I could", "I'd": they offer.
    rf"(?:{OPEN}(?:(?:i|we)(?:'ll| will)|i shall|(?:i'm|i am) going to|i need to|i have to|let me|let's|allow me to)"
    rf"|\b(?:while|as) (?:i|we)) {SOON}"
)
I_AM = rf"(?:{OPEN}(?:(?:(?:i|we)'ll be|(?:i|we) will be|i'm|i am|we're|we are) )?|\band (?:i'm|i am) ){SOON}"
WHOM = r"(?:you|them|the (?:user|customer|caller|patient|client))"
MATTER = (  # the conversation, or the work in hand: money, parcels, files and feedback go elsewhere than the user does
    r"(?:this|that|it|everything|(?:the|your|this|these|my|our) (?:\w{1,20} ){0,2}(?:case|request|question|[ie]nquiry"
    r"|issue|ticket|conversation|chat|call|matter|task|drafts?|notes|findings|research|outline|article|manuscript))"
)
WAY = r"(?: (?:over|off|on|along|back|through|up|directly|straight|now|right|in touch|in contact)){0,3}"
MOVE = r"(?:transfer|hand|pass|rout|escalat|forward|redirect|delegat|assign|switch|mov|turn|return|submit)"
JOIN = r"(?:connect|put|patch|get|send|direct|refer)"  # needs to say whom: "I'll connect with billing" is to ask there
TOOL = r"(?:handoff|hand off|transfer) to"
WAYS = (
    rf"{I_WILL}{MOVE}e?{WAY}(?: {WHOM}| {MATTER})?{WAY} to",  # "Let me hand this over to"
    rf"{I_WILL}{JOIN} (?:{WHOM}|{MATTER}){WAY} (?:to|with)",  # "I'll put you through to"
    rf"{I_AM}{MOVE}[rt]?ing{WAY}(?: {WHOM}| {MATTER})?{WAY} to:?",  # "Transferring you to"
    rf"{I_AM}{JOIN}[rt]?ing (?:{WHOM}|{MATTER}){WAY} (?:to|with)",  # "I'm now connecting you with"
    rf"{OPEN}(?:you|{MATTER})(?:'re| are| is|'ll| will) {SOON}(?:being|be) {SOON}"  # "You are being transferred to"
    rf"(?:{MOVE}[rt]?ed|connected|sent|put){WAY} (?:to|with)",
    rf"(?:{I_WILL}|{I_AM})(?:bring|loop|pull)(?:ing)? in",  # "Let me bring in"
    rf"{OPEN}over to",  # "Research is done; over to"
    # A handoff tool that is written out: in JSON, as a whole line, as a call, announced. Else it is only mentioned.
    rf"\b(?:name|function|functions|tool|action) ?[:=.] ?{TOOL}",
    rf"^\W*{TOOL}(?= \w{{1,60}}(?: \w{{1,60}}){{0,5}}\W*$|[^(]{{1,64}}\()",
    rf"(?:{I_WILL}|{I_AM})(?:call|us|invok|trigger)(?:e|ing)?(?: the)? {TOOL}",
    # "Ich leite Sie weiter an", "Dann verbinde ich Sie mit"; the end of the verb comes after the name, see AFTERWARDS
    rf"{OPEN}(?:ich (?:verbinde|leite|gebe|ubergebe|stelle|werde)|(?:verbinde|leite|ubergebe) ich|sie werden)"
    rf" (?:(?:sie|dich|das|es|ihre?n? (?:anliegen|anfrage|fall)) )?{SOON}(?:mit|an|zu|zur|zum)",
    # "Je vous mets en relation avec", "Je transmets votre demande à", "Je vous passe (le service ...)"
    rf"{OPEN}je (?:vais )?(?:(?:vous|te) )?(?:transfer|transmet|redirig|passe|met)\w{{0,4}}"
    r"(?: en (?:relation|contact)| votre demande)?(?: a| au| vers| avec)?",
    rf"{OPEN}(?:(?:le|te|lo|la) (?:transfiero|paso|comunico|conecto|derivo|pongo en contacto)"
    r"|voy a (?:transferir|pasar|comunicar|conectar|derivar)(?:le|te|lo|la)) (?:a|al|con)",  # "Le paso con"
    rf"{OPEN}(?:la|ti) (?:trasferisco|passo|collego|metto in contatto) (?:a|ad|al|alla|con)",  # "Ti passo a"
    rf"{OPEN}ik (?:verbind|schakel|stuur) (?:u|je) {SOON}(?:door )?(?:met|naar|aan)",  # "Ik verbind u door met"
)
AGENT = r"(?:agent|team|department|dept|desk|specialist|expert|assistant|representative|abteilung|afdeling)s?"
LITTLE = (  # before a name: "one of our billing specialists", "al departamento de facturación"
    rf"the|our|a|an|my|your|one|of|in|from|for|right|dedicated|specialized|specialised|friendly|someone|somebody"
    rf"|colleagues?|{AGENT}|der|die|den|dem|das|unser(?:e|en|em|er)?|kollegen|le|la|les|notre|service|equipe|de|du|el"
    r"|del|nuestro|nuestra|departamento|equipo|il|lo|nostro|nostra|reparto|het|onze"
)
AFTERWARDS = (  # after a name; any other word makes it something else: "your billing account", "to billing takes long"
    "now|right|immediately|directly|shortly|straight|to|so|and|for|who|which|where|with|as|since|because|about"
    "|regarding|please|instead|they|here|rather|weiter|weiterleiten|weitergeleitet|verbinden|verbunden|ubergeben|damit"
    "|und|qui|pour|et|que|para|y|ahora|che|per|adesso|maintenant|jetzt|nu|door|om|en|over"
)
END = rf"(?= ?(?:[^\w '@/&.]|'(?!s)|\.(?!\w)|$)| (?:{AFTERWARDS})\b)"  # nor "billing's", "billing@", "billing.com"
CONDITION = (  # or another time
    "if|unless|as soon as|as long as|in case|provided|assuming|depending|once|when|whenever|until|before|after|later"
    "|tomorrow|tonight|monday|tuesday|wednesday|thursday|friday|wenn|falls|sobald|bevor|nachdem|morgen|quand|des que"
    "|lorsque|demain|cuando|en cuanto|una vez|manana|quando|appena|domani|zodra|wanneer"
)
ASKED = "give|tell|send|share|provide|confirm|reply|enter|press|click|say|type|choose|pick|answer|let me know"
SAID = "said|says|reads?|wrote|writes|answer|answered|message|reply|example|template"
NOT_YET = re.compile(  # what follows in the sentence is for later, or depends on something, or somebody else said it
    rf"\b(?:{CONDITION}|whether|first|then|ob|si(?!,)|antes|se|als)\b|^\W*should\b"
    rf"|^[ ,]*(?:please |just ){{0,2}}(?:{ASKED})\b(?! me a)|\b(?:{SAID})(?: \w{{1,20}}){{0,3}}:"
)
ONLY_IF = re.compile(rf"\bif (?:you|it|that|this|need|nec)|(?!if )\b(?:{CONDITION})\b")  # not "who can check if"
TYPOGRAPHY = str.maketrans("‘’“”„«»–—\xa0", '\'\'"""""-- ')


def announced(text: str, targets: Sequence[str]) -> str | None:
    """The one of ``targets`` (agent names) that ``text`` says the conversation is being handed to, or None."""
    announcement, called = _compiled(tuple(targets))
    # Whoever asks waits for an answer: what comes before the last question mark announces nothing.
    for sentence in re.split(r"(?<=[.!]) |\n", _plain(text).rpartition("?")[2]):
        limit = NOT_YET.search(sentence)
        found = announcement.search(sentence, 0, limit.start() if limit else len(sentence))
        if found and not ONLY_IF.search(sentence, found.end()):
            return called[found["name"].replace(" ", "").rstrip("s")]
    return None


def _plain(text: str) -> str:
    # Letter by letter: to normalize a text as a whole takes squared time if it is all accents.
    letters = (letter for char in text.translate(TYPOGRAPHY) for letter in unicodedata.normalize("NFKD", char))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter)).casefold()
    # Somebody else's words go, and items of a list: plans and descriptions.
    own = re.sub(r'"[^"\n]*"', lambda quote: quote[0] if quote[0].count(" ") < 3 else "", plain)
    own = re.sub(r"(?m)^ *(?:>|(?:[-*•]|\d{1,3}[.)]) ).*$", "", own)
    return re.sub(r'[ \t_*`"-]+', " ", re.sub(r"(?<![^ \n])-{1,3} ", ", ", own))


@lru_cache(maxsize=64)
def _compiled(targets: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    patterns: dict[str, str] = {}
    short: dict[str, set[str]] = {}  # "billing" for billing_team, while no other agent is called so
    full: dict[str, set[str]] = {}
    for target, tool in tool_names(targets).items():
        for name in (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", target), tool.removeprefix(PREFIX)):
            words = re.findall(r"[^\W_]+", _plain(name))
            for owners, spelled in ((full, words), (short, [word for word in words if not re.fullmatch(AGENT, word)])):
                key = "".join(spelled).rstrip("s")  # one refund, two refunds
                patterns.setdefault(key, " ?".join(spelled).rstrip("s") + "s{0,3}")
                owners.setdefault(key, set()).add(target)
    called = {key: min(owners) for key, owners in (short | full).items() if key and len(owners) == 1}
    names = "|".join(patterns[key] for key in sorted(called, key=len, reverse=True)) or "(?!)"
    before = rf"(?:{'|'.join(WAYS)}) (?:(?:{LITTLE}) |[ld]'){{0,5}}"
    return re.compile(rf"{before}(?P<name>{names})(?: ?{AGENT}){{0,2}}{END}"), called
