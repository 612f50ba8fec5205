@echo off
rem Starts the server next to a game on Windows; closing the window or Ctrl-C stops it.
setlocal
cd /d "%~dp0"
if not exist .venv\Scripts\npcsdk.exe (
  echo npcsdk is not installed in .venv here. Run: py -m venv .venv ^&^& .venv\Scripts\pip install npcsdk
  exit /b 1
)
.venv\Scripts\npcsdk.exe serve --config npcsdk.yaml
exit /b %ERRORLEVEL%
