#!/bin/sh
# Ask Aviary for a release over HTTP, wait, and end as it did: `aviary deploy` with curl alone.
#
#   deploy.sh [options] RELEASE SERVICE=VERSION...
#   deploy.sh [options] -f EVENT
#
#   -f FILE     a whole deploy event (structured CloudEvent) in place of a release and its services
#   -u WHAT     how long to wait: end (of the release), person (or until it waits for one), accepted
#   -t SECONDS  then it is given up, and the release goes on (3600)
#   -a SECONDS  how long the event may be on its way (300)
#   -p SECONDS  between two questions (2)
#   -l NAME=TEXT  a label of the release, such as commit=<sha>; repeat it
#   -s FILE     for the summary, in Markdown; GITHUB_STEP_SUMMARY gets it as well, where it is set
#
# AVIARY_SERVER is the address of the webhook. The token is AVIARY_TOKEN, or in the file
# AVIARY_TOKEN_FILE, or the ID token of a job of GitHub for AVIARY_AUDIENCE. Of curl's own settings
# CURL_CA_BUNDLE and .curlrc count.
#
# Ends with 0 finalized (or accepted), 1 refused or nobody answers, 2 bad input, 3 rolled back,
# 4 no release came of the event in time, 5 waits for a person, 6 the time is over.
set -eu
umask 077

OK=0 FAILURE=1 BAD_INPUT=2 ROLLED_BACK=3 NOT_FOUND=4 WAITING=5 TIMED_OUT=6
LONGEST_WAIT=30 ID_TOKEN_S=180 MOST=4194304

event='' until=end timeout=3600 appear=300 poll=2 target=''
labels='' code='' phase='' asks='' etag='' headline='' seen='' token_at=0 again=''

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'finish 130 "interrupted; the release goes on"' INT TERM
answer=$folder/answer headers=$folder/headers summary=$folder/summary

say() { printf '%s\n' "$*" | tr -d '\000-\010\013-\037\177'; }

finish() { # CODE TEXT: write the summary, say how it ended, and end
    [ -s "$summary" ] || printf 'Aviary: \140%s\140\n' "$(printf '%s' "$2" | tr '\140\n' "' ")" >"$summary"
    if [ -n "$target" ]; then cp "$summary" "$target" || say "summary: $target can't be written"; fi
    if [ -n "${GITHUB_STEP_SUMMARY:-}" ]; then head -c 900000 "$summary" >>"$GITHUB_STEP_SUMMARY"; fi
    if [ -n "${GITHUB_OUTPUT:-}" ]; then printf 'code=%s\n' "$1" >>"$GITHUB_OUTPUT"; fi
    if [ "$1" -ne "$OK" ]; then say "$2" >&2; fi
    exit "$1"
}

whole() { # NAME VALUE: it has to be a whole number
    case $2 in '' | *[!0-9]* | ????????*) finish "$BAD_INPUT" "$1: got '$2', expected seconds" ;; esac
}

label() { # NAME=TEXT: one more; what would have to be escaped is refused
    case $1 in
    *=*) ;;
    *) finish "$BAD_INPUT" "-l: got '$1', expected NAME=TEXT, such as commit=<sha>" ;;
    esac
    case ${1%%=*} in *[!A-Za-z0-9._-]* | '') finish "$BAD_INPUT" "-l: got '$1', expected a name of letters, digits and . _ -" ;; esac
    case ${1#*=} in *[!A-Za-z0-9._+:@/-]* | '') finish "$BAD_INPUT" "-l: got '$1', expected a text of letters, digits and . _ + : @ / -" ;; esac
    labels="$labels${labels:+,}\"${1%%=*}\":\"${1#*=}\""
}

while getopts 'f:u:t:a:p:s:l:' option; do
    case $option in
    f) event=$OPTARG ;;
    u) until=$OPTARG ;;
    t) timeout=$OPTARG ;;
    a) appear=$OPTARG ;;
    p) poll=$OPTARG ;;
    s) target=$OPTARG ;;
    l) label "$OPTARG" ;;
    *) finish "$BAD_INPUT" "usage: deploy.sh [options] RELEASE SERVICE=VERSION..." ;;
    esac
done
shift $((OPTIND - 1))

whole -t "$timeout"
whole -a "$appear"
whole -p "$poll"
case $until in end | person | accepted) ;; *) finish "$BAD_INPUT" "-u: got '$until', expected end, person or accepted" ;; esac
server=${AVIARY_SERVER:-}
server=${server%/}
case $server in
*[[:space:]]* | *@* | *\?* | *\#*) finish "$BAD_INPUT" "AVIARY_SERVER: expected an address without user, query and blanks" ;;
http://?* | https://?*) ;;
*) finish "$BAD_INPUT" "AVIARY_SERVER: got '$server', expected an address such as https://webhook.example" ;;
esac

enveloped() { # RELEASE SERVICE=VERSION...: an event on stdout; what would have to be escaped is refused
    case $1 in *[!A-Za-z0-9._-]* | '') finish "$BAD_INPUT" "release: got '$1', expected letters, digits and . _ -" ;; esac
    printf '{"specversion":"1.0","type":"dev.aviary.release.requested.v1","source":"/aviary/deploy",' >"$folder/event"
    printf '"id":"%s","data":{"release":"%s","services":[' "$1" "$1" >>"$folder/event"
    shift
    [ $# -gt 0 ] || finish "$BAD_INPUT" "expected SERVICE=VERSION, such as checkout=1.4.2"
    comma=''
    for pair in "$@"; do
        case $pair in
        *[!A-Za-z0-9._+:@/=-]* | *=*=* | =* | *=) finish "$BAD_INPUT" "got '$pair', expected SERVICE=VERSION, such as checkout=1.4.2" ;;
        *=*) ;;
        *) finish "$BAD_INPUT" "got '$pair', expected SERVICE=VERSION, such as checkout=1.4.2" ;;
        esac
        printf '%s{"service":"%s","version":"%s"}' "$comma" "${pair%%=*}" "${pair#*=}" >>"$folder/event"
        comma=,
    done
    printf '],"labels":{%s}}}\n' "$labels" >>"$folder/event"
}

if [ -n "$event" ]; then
    [ $# -eq 0 ] || finish "$BAD_INPUT" "expected an event or services, got both"
    [ -z "$labels" ] || finish "$BAD_INPUT" "-l: expected without -f: an event has its own labels"
    [ -r "$event" ] || finish "$BAD_INPUT" "-f: got '$event', expected a file"
    cp "$event" "$folder/event"
else
    [ $# -ge 2 ] || finish "$BAD_INPUT" "expected a release and its services, such as shop-42 checkout=1.4.2"
    enveloped "$@"
fi

now() { date +%s; }
ends=$(($(now) + timeout))

field() { # NAME: a header of the last answer
    awk -v name="$1:" 'tolower($1) == name { sub(/^[^:]*:[ \t]*/, ""); sub(/[ \t\r]*$/, ""); value = $0 }
        END { print value }' "$headers"
}

why() { # why the last answer was a refusal, in the server's words
    [ -s "$answer" ] && head -c 2000 "$answer" && return
    printf 'the server answers %s' "$code"
}

id_token() { # the job's own token, which GitHub makes: it lives for five minutes
    printf 'Authorization: Bearer %s\n' "${ACTIONS_ID_TOKEN_REQUEST_TOKEN:-}" >"$folder/github"
    curl -sS --max-time 10 --max-filesize 65536 -G --data-urlencode "audience=$AVIARY_AUDIENCE" \
        -H "@$folder/github" "${ACTIONS_ID_TOKEN_REQUEST_URL:-}" |
        sed -n 's/.*"value" *: *"\([A-Za-z0-9._-]*\)".*/\1/p'
}

authorize() { # [again]: put the token where curl reads it, which is no argument for others to see
    if [ -n "${AVIARY_AUDIENCE:-}" ]; then
        if [ -z "${1:-}" ] && [ $(($(now) - token_at)) -lt "$ID_TOKEN_S" ]; then return; fi
        token=$(id_token) || token=''
        token_at=$(now)
        expected="an ID token of GitHub; has the job permissions: {id-token: write}?"
    elif [ -n "${AVIARY_TOKEN_FILE:-}" ]; then
        [ -r "$AVIARY_TOKEN_FILE" ] || finish "$BAD_INPUT" "AVIARY_TOKEN_FILE: can't be read"
        token=$(tr -d ' \r\n' <"$AVIARY_TOKEN_FILE")
        expected="a token in AVIARY_TOKEN_FILE"
    else
        token=${AVIARY_TOKEN:-}
        expected="AVIARY_TOKEN, AVIARY_TOKEN_FILE or AVIARY_AUDIENCE"
    fi
    [ -n "$token" ] || finish "$BAD_INPUT" "there is no token, expected $expected"
    printf 'Authorization: Bearer %s\n' "$token" >"$folder/authorization"
}

once() { # PATH [curl's options]: one request; `code` is its status, 000 without an answer
    path=$1
    shift
    : >"$answer"
    : >"$headers"
    code=$(curl -sS --max-time 30 --max-filesize "$MOST" -o "$answer" -D "$headers" \
        -w '%{http_code}' -H "@$folder/authorization" -H 'Expect:' "$@" "$server/$path" 2>"$folder/error") || {
        [ $? -ne 60 ] || finish "$FAILURE" "$(cat "$folder/error")"
        code=000
    }
}

ask() { # PATH [curl's options]: again while the server is away or busy; 1 when the time is over
    wait=$poll refused=''
    while :; do
        authorize "$refused"
        once "$@"
        case $code in
        401) # it may just have expired
            [ -z "$refused" ] || return 0
            refused=again
            continue
            ;;
        000) reason=$(head -n 1 "$folder/error") ;;
        408 | 425 | 429 | 500 | 502 | 503 | 504) reason=$(why) ;;
        *)
            again=''
            return 0
            ;;
        esac
        refused=''
        after=$(field retry-after)
        case $after in '' | *[!0-9]* | ???*) after=0 ;; esac
        [ "$after" -gt "$wait" ] || after=$wait
        [ $(($(now) + after)) -lt "$ends" ] || return 1
        [ "$reason" = "$again" ] || say "asking again: $reason" >&2
        again=$reason
        sleep "$after"
        wait=$((wait * 2 + 1))
        [ "$wait" -le "$LONGEST_WAIT" ] || wait=$LONGEST_WAIT
    done
}

refuse() { # end as a refusal does
    case $code in
    400 | 413 | 415 | 422) finish "$BAD_INPUT" "refused: $(why)" ;;
    409) grep -q '"reason": *"other"' "$answer" && finish "$BAD_INPUT" "$(why)" ;;
    esac
    finish "$FAILURE" "refused: $(why)"
}

late() { # the time is over
    [ -n "$seen" ] || finish "$NOT_FOUND" "$1, and no release has come of the event yet; it may still"
    finish "$TIMED_OUT" "$1; the release goes on: $headline"
}

ask events -X POST -H 'Content-Type: application/cloudevents+json' --data-binary "@$folder/event" ||
    finish "$FAILURE" "given up, for the time is over: $reason"
[ "$code" = 202 ] || refuse
say "accepted: the event lies on Kafka"
[ "$until" != accepted ] || finish "$OK" "the event is accepted"
place=$(field location)
printf '%s\n' "$place" | grep -Eqx 'releases/[A-Za-z0-9._-]{1,128}/summary\?of=[0-9a-f]{16}' ||
    finish "$FAILURE" "accepted, but the server does not say where the release is told of, expected one with AVIARY_CALLERS_FILE"

accepted=$(now)
while :; do
    if ! ask "$place" -H "If-None-Match: ${etag:-\"\"}"; then
        late "the time is over: $reason"
    fi
    case $code in
    200 | 304)
        phase=$(field aviary-phase) asks=$(field aviary-asks) seen=yes
        if [ "$code" = 200 ]; then
            etag=$(field etag)
            cp "$answer" "$summary"
            line=$(sed -n -e '1s/^## //' -e '1s/\\\([^A-Za-z0-9 ]\)/\1/g' -e '1s/&lt;/</g' -e '1s/&amp;/\&/g' -e 1p "$summary" | head -c 500)
            [ "$line" = "$headline" ] || say "$line"
            headline=$line
        fi
        [ "$phase" != finalized ] || finish "$OK" "$headline"
        [ "$phase" != rolled_back ] || finish "$ROLLED_BACK" "$headline"
        if [ "$until" = person ] && [ "$asks" = true ]; then
            finish "$WAITING" "waits for a person: $headline"
        fi
        ;;
    404)
        grep -q '"reason": *"unknown"' "$answer" || refuse
        [ -z "$seen" ] || finish "$NOT_FOUND" "the release has gone: $(why)"
        [ $(($(now) - accepted)) -lt "$appear" ] ||
            finish "$NOT_FOUND" "no release has come of the event within $appear s: it may wait on aviary.deploys, or be a dead letter"
        ;;
    *) refuse ;;
    esac
    [ "$(now)" -lt "$ends" ] || late "the time is over"
    sleep "$poll"
done
