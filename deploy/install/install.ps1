<#
.SYNOPSIS
Installs voicemesh @VERSION@ for Windows, after its checksum was verified.

.PARAMETER Program
voicemesh, the command (default), or voicemesh-signaling, the server.

.PARAMETER To
The folder to install into; %LOCALAPPDATA%\Programs\voicemesh by default, which is added to the user's PATH.

.PARAMETER From
A mirror of the release's files.
#>
param(
    [ValidateSet('voicemesh', 'voicemesh-signaling')] [string] $Program = 'voicemesh',
    [string] $To = (Join-Path $env:LOCALAPPDATA 'Programs\voicemesh'),
    [string] $From = '@REPOSITORY@/releases/download/v@VERSION@'
)

function Install-Voicemesh([string] $Program, [string] $To, [string] $From) {
    # Inside, so that the terminal it is pasted into keeps its own.
    Set-StrictMode -Version 3
    $ErrorActionPreference = 'Stop'
    # The bar makes a download slow in Windows PowerShell.
    $ProgressPreference = 'SilentlyContinue'

    # Windows on ARM runs programs for x86-64 as well.
    if (-not [Environment]::Is64BitOperatingSystem) { throw 'There is no voicemesh for 32-bit Windows.' }
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12

    $name = "$Program-@VERSION@-x86_64-pc-windows-gnu"
    $work = Join-Path ([IO.Path]::GetTempPath()) ([Guid]::NewGuid())
    New-Item -ItemType Directory $work | Out-Null
    try {
        $archive = Join-Path $work "$name.zip"
        Invoke-WebRequest -UseBasicParsing "$From/$name.zip" -OutFile $archive
        Invoke-WebRequest -UseBasicParsing "$From/SHA256SUMS" -OutFile (Join-Path $work 'SHA256SUMS')

        $listed = '^([0-9a-f]{64}) [ *]' + [regex]::Escape("$name.zip") + '$'
        $line = Select-String -Path (Join-Path $work 'SHA256SUMS') -Pattern $listed | Select-Object -First 1
        if (-not $line) { throw "SHA256SUMS has no checksum of $name.zip: nothing was installed." }
        $wanted = $line.Matches[0].Groups[1].Value
        $found = (Get-FileHash -Algorithm SHA256 $archive).Hash
        if ($found -ne $wanted) { throw "The checksum of $name.zip is $found and should be ${wanted}: nothing was installed." }

        Expand-Archive $archive -DestinationPath $work
        New-Item -ItemType Directory -Force $To | Out-Null
        Copy-Item -Force (Join-Path $work "$name\$Program.exe") $To
    }
    finally {
        Remove-Item -Recurse -Force $work
    }

    $path = [Environment]::GetEnvironmentVariable('Path', 'User')
    if (($path -split ';') -notcontains $To) {
        [Environment]::SetEnvironmentVariable('Path', (@($path, $To) | Where-Object { $_ }) -join ';', 'User')
        Write-Output "$To was added to your PATH; a new terminal finds $Program."
    }
    Write-Output "$Program @VERSION@ is in $To."
}

Install-Voicemesh -Program $Program -To $To -From $From
