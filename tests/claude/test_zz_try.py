import json, os, subprocess, sys
from stretto.testing.api import *
from stretto.testing.claude import run
from stretto import trust
from stretto.journal import read
from stretto.fold import fold
def test_try(short, state_base, home, project):
    b = short/"bin"; b.mkdir()
    t=b/"pytest"; t.write_text(f"#!/bin/sh\necho run >> {short}/n\ncat src.py\nsleep 0.3\n"); t.chmod(0o755)
    (project/"src.py").write_text("one\n")
    d=subprocess.run([sys.executable,"-m","stretto","init","--yes"],cwd=project,env={**os.environ,"HOME":str(home.path)},capture_output=True,text=True)
    print(d)
    edit = Turn((Call("Read",{"file_path":str(project/"src.py")}),Call("Edit",{"file_path":str(project/"src.py"),"old_string":"one","new_string":"two"})))
    with ScriptedApi([bash("pytest -q"),bash("pytest -q 2>&1 | tail -3"), edit, bash("pytest -q", think_s=3)]) as api:
        o=run("go",api=api,project=project,home=home,env={"PATH":f"{b}:/usr/bin:/bin"},output="stream-json",args=["--include-hook-events"])
    for e in o.events():
        print(json.dumps(e)[:700])
    print(o.stderr, o.wall_s)
    print(api.tool_results(), api.waits())
    print((short/"n").read_text())
    folder = trust.ProjectPaths(base=str(state_base), key=trust.project_key(str(project))).folder
    for _,e in read(folder): print(e)
    for r in api.main_requests(): print(r.new_texts(), [ (m["role"], [ (k, (str(v)[:60])) for blk in (m["content"] if isinstance(m["content"],list) else [{"t":m["content"]}]) for k,v in blk.items()]) for m in r.body["messages"]][:3])
    assert 0
